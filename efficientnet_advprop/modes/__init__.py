"""The modes of `main.py`, which combine the other packages."""
