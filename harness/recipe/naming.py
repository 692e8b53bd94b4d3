"""What a key that no recipe has is meant for: the words of other people's files, and the settings here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harness.recipe.registry import nearest

__all__ = ["called_elsewhere", "is_seed", "nearest_key"]

_ELSEWHERE = {
    "optimizer.lr": "lr learning_rate init_lr base_lr step_size alpha_lr",
    "generator_optimizer.lr": "lr_g g_lr gen_lr lr_gen generator_lr lr_generator g_learning_rate",
    "discriminator_optimizer.lr": "lr_d d_lr disc_lr lr_disc discriminator_lr lr_discriminator critic_lr",
    "optimizer.beta1": "beta1 beta_1 b1 adam_beta1 betas",
    "optimizer.beta2": "beta2 beta_2 b2 adam_beta2",
    "optimizer.momentum": "momentum sgd_momentum",
    "optimizer.weight_decay": "weight_decay wd l2 l2_reg decay",
    "optimizer.eps": "eps epsilon adam_eps adam_epsilon",
    "optimizer.name": "optimizer optim opt optimiser optimizer_type optimizer_name solver",
    "train.batch_size": "batch_size batch batchsize bs train_batch_size minibatch_size mini_batch_size",
    "train.epochs": "epochs epoch num_epochs n_epochs nb_epochs max_epochs train_epochs niter "
    "steps num_steps max_steps total_steps iterations num_iterations n_iters max_iters",
    "train.discriminator_steps": "n_critic critic_iters critic_iterations critic_steps d_steps d_iters",
    "train.generator_steps": "g_steps g_iters",
    "train.ema": "ema ema_decay ema_beta",
    "loss.name": "loss criterion loss_fn loss_function loss_type gan_mode gan_type adv_loss",
    "loss.gradient_penalty": "gp lambda_gp gp_weight gp_lambda lambda_gradient_penalty grad_penalty gamma_gp",
    "loss.weight_clip": "clip_value weight_clip clip weight_clipping clip_weight clamp_value",
    "loss.r1": "r1 r1_gamma r1_weight lambda_r1",
    "data.name": "dataset data dataset_name data_name dset",
    "data.path": "data_dir data_path data_root dataset_path dataroot dataset_dir",
    "generator.latent_dim": "latent_dim latent_size z_dim zdim nz noise_dim dim_z latent_dims",
    "generator.depth": "num_layers n_layers layers depth num_hidden_layers",
    "generator.width": "ngf g_channels hidden_size hidden_dim width num_hidden hidden_units n_hidden",
    "discriminator.width": "ndf d_channels disc_channels",
    "discriminator.dropout": "dropout dropout_rate drop_rate p_dropout",
    "generator.name": "generator model arch architecture netg model_name",
    "discriminator.name": "discriminator critic netd",
}
"""Dotted key → what public sweep files and training scripts call it."""

_ALIASES = {alias: key for key, aliases in _ELSEWHERE.items() for alias in aliases.split()}


_SEEDS = ("seed", "seeds", "random_seed", "manual_seed", "rng_seed", "torch_seed", "global_seed")


def is_seed(key: str) -> bool:
    """Whether a `key` is what another program's runs are seeded with; an entry's own option is not."""
    section = key.partition(".")[0]
    return _last(key) in _SEEDS and section not in ("data", "generator", "discriminator", "loss")


def called_elsewhere(key: str) -> str:
    """The dotted key for the last part of another program's `key`; empty where none is known."""
    return _ALIASES.get(_last(key), "")


def nearest_key(key: str, keys: Iterable[str]) -> str:
    """A hint for an unknown dotted key: ``; did you mean `optimizer.lr`?``, or nothing where none is close.

    What is compared is the last part of each: ``trainer.batch_size`` is meant for ``train.batch_size``.

    Args:
        key: what was given.
        keys: what there is.
    """
    if is_seed(key):
        return "; a recipe has no seed: write `seeds` in a sweep file, or --seed behind `harness train`."
    known = list(keys)
    last = _last(key)
    same = [other for other in known if _last(other) == last and last != "name"]
    found = difflib.get_close_matches(key, same, n=1, cutoff=0.0) if same else []
    if not found and (alias := called_elsewhere(key)):
        found = [alias]
    if not found and "." in key:
        return nearest(key, known)
    if not found:
        close = difflib.get_close_matches(last, {_last(other) for other in known}, n=1, cutoff=0.6)
        found = [min((other for other in known if _last(other) in close), key=len)] if close else []
    return f"; did you mean `{found[0]}`?" if found else ""


def _last(key: str) -> str:
    """``learning_rate`` of ``trainer.Learning-Rate``."""
    return key.rsplit(".", 1)[-1].lower().replace("-", "_")
