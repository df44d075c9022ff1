"""The modes of `main.py`: the other rooms put together."""
