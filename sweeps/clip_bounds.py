"""A scripted study: how tightly should a Wasserstein critic be clipped?

    python sweeps/clip_bounds.py            the whole study
    python sweeps/clip_bounds.py --smoke    a version of a minute

A study made in Python is the same thing as a sweep file: planned, resumed, tracked and reported alike.
Scripts are for what a file cannot say, such as arms that are computed.
"""

from __future__ import annotations

import argparse

from harness import Study, run_study


def clip_bounds(num_arms: int = 5, *, seeds: int = 8, epochs: int = 320) -> Study:
    """One arm for each bound of the clip: 0.1 · 2ⁱ around the 0.1 of `points-wgan`.

    Args:
        num_arms: bounds to try, an odd number; the middle one is the baseline.
        seeds: seeds an arm.
        epochs: passes over the data.
    """
    bounds = [round(0.1 * 2.0 ** (i - num_arms // 2), 6) for i in range(num_arms)]
    return Study(
        name="clip-bounds",
        description="The Wasserstein GAN on points, its critic clipped at bounds that double.",
        recipe="points-wgan",
        metric="sliced_w2",
        seeds=seeds,
        ablate={"loss.weight_clip": bounds},
        baseline={"loss.weight_clip": 0.1},
        parameters={"train.epochs": epochs},
        smoke={"seeds": 2, "train.epochs": 10},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="two seeds, ten epochs")
    study = clip_bounds()
    if parser.parse_args().smoke:
        study = study.smoked()
    result = run_study(study)
    print(result.headline)
    print(f"report: {result.report}")
