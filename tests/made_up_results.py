"""Made-up results of evaluations."""

import dataclasses
import os

import numpy as np

from efficientnet_advprop.evaluation import SEVERITIES, Column, Evaluated, EvaluatedRun, Part, ResultsFile
from efficientnet_advprop.recipes import EXTRA_CORRUPTIONS, IMAGENET_C_CORRUPTIONS

EVALUATED = Evaluated(
    model="efficientnet-b7",
    scheme="advprop",
    dataset="imagenet",
    seed=0,
    step=218_949,
    weights="averaged, runs/b7/checkpoints/ckpt-218949",
    input_image_size=600,
    class_names=tuple(f"class {number}" for number in range(1000)),
    recipe="0123456789abcdef",
    digest="fedcba9876543210",
)
CLEAN = Column("clean", "main", "top1")
ANIMALS = (
    "hammerhead, hammerhead shark",
    "great white shark",
    "tiger cat",
    "tabby, tabby cat",
    "lynx",
    "a|b",
    "Pomeranian",
)


def part(scores, images=50_000, bad_images=0, confusions=None, **settings):
    """One pass; `scores` is top1 of the main branch, or all scores."""
    if isinstance(scores, float):
        scores = {"main": {"top1": scores, "top5": min(1.0, scores + 0.1), "loss": 3 * (1 - scores)}}
    settings = {"dataset": "imagenet", "set": "0123456789", "images": "all", **settings}
    return Part(settings, images, bad_images, scores, confusions or {}, 12.5)


def results_in(folder, parts, **evaluated):
    """Results written and read again."""
    os.makedirs(folder, exist_ok=True)
    file = ResultsFile(str(folder))
    results = file.start(dataclasses.replace(EVALUATED, **evaluated))
    results.parts.update(parts)
    file.write({file.ONLY: results})
    return ResultsFile(str(folder)).runs[file.ONLY]


def run_in(folder, parts, **evaluated):
    """Such results as a run of a comparison."""
    return EvaluatedRun(str(folder), results_in(folder, parts, **evaluated))


def branches(main, auxiliary, **more):
    """Scores of two branches."""
    return {
        branch: {"top1": top1, "top5": min(1.0, top1 + 0.1), "loss": 3 * (1 - top1), **more}
        for branch, top1 in (("main", main), ("auxiliary", auxiliary))
    }


def corrupted(benchmark, error=0.45, seed=0, auxiliary=True, extra=True, **settings):
    """All corruptions at all severities."""
    rng = np.random.default_rng(seed)
    names = [*IMAGENET_C_CORRUPTIONS, *(EXTRA_CORRUPTIONS if extra else ())]
    parts = {}
    for name in names:
        base = error * rng.uniform(0.6, 1.3)
        for severity in SEVERITIES:
            top1 = round(1 - min(0.95, base * (0.4 + 0.24 * severity)), 4)
            scores = branches(top1, round(top1 * 0.96, 4)) if auxiliary else top1
            confusions = {"main": [[*ANIMALS[:2], severity * 3], [*ANIMALS[2:4], 7]]}
            parts[f"{benchmark}/{name}/{severity}"] = part(scores, confusions=confusions, **settings)
    return parts


def confused(factor=1):
    """Twenty-one pairs."""
    pairs = [(true, other) for true in ANIMALS for other in ANIMALS if true < other]
    return [[true, other, factor * (len(pairs) - place)] for place, (true, other) in enumerate(pairs)]


def attacked(norm, rows, images=5000, branch="main", clean=0.91, steps=10, success="any"):
    """`rows`: (epsilon, noise, one step, PGD)."""
    return {
        "/".join(("pgd", norm, f"{epsilon:g}", *([] if branch == "main" else [branch]))): part(
            {
                "clean": {"top1": clean, "loss": 0.5},
                "noise": {"top1": noise, "loss": 1.0},
                "one_step": {"top1": one_step, "loss": 2.0},
                "pgd": {"top1": pgd, "loss": 4.0},
            },
            images=images,
            branch=branch,
            attack=f"PGD-{steps} {norm}",
            restarts=5,
            success=success,
        )
        for epsilon, noise, one_step, pgd in rows
    }


def everything(error=0.45, seed=0):
    """All benchmarks of a network with two branches."""
    both = {"main": confused(3), "auxiliary": confused(2)}
    two_hundred = {"top1_of_200": 0.447}
    return {
        "clean": part(branches(0.852, 0.833), confusions=both),
        "imagenet": part(branches(0.852, 0.833), bad_images=2, images=49_998, confusions=both),
        "imagenet_v2": part(branches(0.757, 0.74), images=10_000),
        "imagenet_a": part(branches(0.377, 0.361, **two_hundred), images=7_500, confusions=both),
        "imagenet_r": part(branches(0.423, 0.431, **two_hundred), images=30_000),
        "imagenet_sketch": part(branches(0.351, 0.349), images=50_889),
        "stylized": part(branches(0.266, 0.27), resize="model", input_image_size=600),
        **corrupted("imagenet_c", error, seed, resize="model", input_image_size=600),
        **corrupted("corruptions", error, seed + 1, extra=False, input_image_size=600),
        **attacked(
            "linf", [(0.5, 0.85, 0.61, 0.6), (1, 0.85, 0.42, 0.38), (2, 0.848, 0.25, 0.11), (4, 0.84, 0.17, 0.02)]
        ),
        **attacked("l2", [(128, 0.85, 0.55, 0.52), (256, 0.85, 0.33, 0.35), (512, 0.849, 0.21, 0.04)]),
    }
