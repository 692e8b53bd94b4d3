"""Whether runs are mirrored in W&B online, offline or not at all, decided without importing its library."""

from __future__ import annotations

import configparser
import netrc
import os
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

__all__ = ["Mode", "has_key", "wandb_mode"]

Mode: TypeAlias = Literal["online", "offline", "disabled"]

_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


def wandb_mode(requested: str = "auto") -> Mode:
    """Decide how runs are mirrored: the variable WANDB_MODE, else what is requested, else by the API key.

    Args:
        requested: `auto`, `online`, `offline` or `disabled`. `auto` is online where an API key is found
            (in WANDB_API_KEY, WANDB_IDENTITY_TOKEN_FILE or the netrc file), else offline.

    Raises:
        ValueError: If the request or WANDB_MODE is none of these.
    """
    always = os.environ.get("WANDB_MODE", "").strip().lower()
    for name, value in (("wandb", requested), ("WANDB_MODE", always or "auto")):
        if value not in ("auto", *_MODES):
            raise ValueError(f"`{name}` must be auto, online, offline or disabled, but got {value!r}.")
    value = always or requested
    if value in _MODES:
        return _MODES[value]
    return "online" if has_key() else "offline"


def has_key() -> bool:
    """Whether an API key lies where the library looks for one."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _settings_url() or "https://api.wandb.ai").netloc
    chosen = os.environ.get("NETRC")
    for path in [chosen] if chosen else ["~/.netrc", "~/_netrc"]:
        try:
            if netrc.netrc(os.path.expanduser(path)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _settings_url() -> str | None:
    """The server chosen by `wandb login --host`."""
    folder = os.environ.get("WANDB_CONFIG_DIR") or os.path.expanduser("~/.config/wandb")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(Path(folder) / "settings", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return None
    return parser.get("default", "base_url", fallback=None)
