"""`--help`: the flags by topic, in two screens; `--help=NAME`: one flag or topic in full; `--helpfull`: all in full."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from efficientnet_advprop.recipes import RecipeError, names_instead
from flags.definitions import FLAGS
from flags.flag import MODES, Flag, RecipeFlag, Topic

_WIDTH = 118  # columns
_INDENT = " " * 29
_MOST_CHOICES = 110  # characters; more are listed by --help=NAME
_VALUES = {str: "NAME", int: "N", float: "X", list[str]: "A,B", tuple[float, ...]: "X,Y", Path: "PATH"}
_VALUES |= {list[Path]: "PATH,PATH", dict[str, Path]: "NAME=PATH"}
# Explained by --help; the others are only named there.
_COMMON = """
    mode advprop model scheme model_dir print_recipe dataset data_dir bad_images augment_name input_image_size
    preprocessing attack attack_epsilon attack_steps optimizer base_learning_rate train_batch_size train_epochs
    train_steps micro_batches seed init_checkpoint keras_weights checkpoint steps_per_eval eval_branch strategy tpu
    precision remat benchmarks benchmark_dir benchmark_images pgd_epsilons schemes seeds compare visualize devices
    export_format export_branch images
"""
_HEAD = """\
python main.py [--mode=train_and_eval] [--FLAG=VALUE ...]
  --model=efficientnet-b7 --advprop                     train on scikit-learn's digits, evaluate, export: a try-out
  --model=efficientnet-b7 --advprop --data_dir=FOLDER   train on ImageNet's TFRecords, or on train/CLASS/, val/CLASS/
  --mode=eval --model_dir=FOLDER                        evaluate a run; its recipe is read from the folder,
                                                        its images from --data_dir, given again (digits need none)
  --help=FLAG_OR_TOPIC, --helpfull                      one flag or topic in full; all of them
* if absent, the recipe's value: --print_recipe shows it. Switches are off if absent, and --noNAME switches them off."""
_ABSL = "Beside these, absl's: --flagfile=PATH reads flags from a file, --verbosity=1 shows TensorFlow's log."


def asked_help(argv: Sequence[str]) -> str | None:
    """The help that a command line asks for; None if it asks for none.

    Raises:
        RecipeError: for a name that is neither a flag nor a topic.
    """
    for argument in argv[1:]:
        if argument == "--":
            return None
        found = re.fullmatch(r"--?(h|\?|help|helpshort|helpfull)(?:=(.*))?", argument)
        if found and found[2] is not None:
            return _in_full(_named(found[2]))
        if found:
            return "\n\n".join((_in_full(FLAGS), _ABSL)) if found[1] == "helpfull" else _overview()
    return None


def _overview() -> str:
    common = _COMMON.split()
    blocks = [_HEAD]
    for topic in Topic:
        flags = [flag for flag in FLAGS if flag.topic is topic]
        lines = [f"{topic.value}  (--help={topic.name.lower()})"]
        lines += [_line(flag) for flag in flags if flag.name in common]
        if others := [f"--{flag.name}{_star(flag)}" for flag in flags if flag.name not in common]:
            lines.append(textwrap.fill(f"also {' '.join(others)}", _WIDTH, **_indents("  ", "       ")))
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _line(flag: Flag) -> str:
    head = f"  {_spelt(flag)}{_star(flag)}"
    text = re.split(r"(?<=\.) ", flag.help)[0]  # the first sentence
    if isinstance(flag.kind, tuple):
        choices = " | ".join(flag.kind)
        if len(choices) > _MOST_CHOICES:
            choices = f"{' | '.join(flag.kind[:2])} | ... ({len(flag.kind)}, --help={flag.name} lists them)"
        text = f"{text} [{choices}]"
    start = head.ljust(len(_INDENT) - 1) + " "
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False, break_long_words=False, **_indents(start, _INDENT))


def _in_full(flags: Iterable[Flag]) -> str:
    return "\n\n".join("\n".join(_lines_in_full(flag)) for flag in flags)


def _lines_in_full(flag: Flag) -> Iterable[str]:
    yield _spelt(flag) + (f", --{flag.alias}" if flag.alias else "")
    facts = [flag.help]
    if isinstance(flag.kind, tuple):
        facts.append(f"Values: {', '.join(flag.kind)}.")
    if _star(flag):
        facts.append(f"If absent: the recipe's value, {flag.path}.")
    if flag.modes != MODES:
        facts.append(f"Read by --mode={', '.join(flag.modes)}.")
    for fact in facts:
        yield textwrap.fill(fact, _WIDTH, break_on_hyphens=False, **_indents("    ", "    "))


def _named(name: str) -> list[Flag]:
    by_name = {flag.name: [flag] for flag in FLAGS} | {flag.alias: [flag] for flag in FLAGS if flag.alias}
    topics = {topic.name.lower(): [flag for flag in FLAGS if flag.topic is topic] for topic in Topic}
    known = topics | by_name  # a flag goes before a topic of its name
    wanted = name.lstrip("-")
    if wanted not in known:
        raise RecipeError(f"--help={name}: no flag or topic of this name{names_instead(wanted, known)}")
    return known[wanted]


def _spelt(flag: Flag) -> str:
    if flag.kind is bool:
        return f"--[no]{flag.name}"
    return f"--{flag.name}={'NAME' if isinstance(flag.kind, tuple) else _VALUES[flag.kind]}"


def _star(flag: Flag) -> str:
    return "*" if isinstance(flag, RecipeFlag) and flag.topic is not Topic.WHAT else ""


def _indents(first: str, others: str) -> dict[str, str]:
    return {"initial_indent": first, "subsequent_indent": others}
