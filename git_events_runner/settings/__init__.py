"""Settings (flags and environment, fixed) and RuntimeConfig (ConfigMap, reloaded); all problems reported together."""

from .document import default_runtime_config_yaml, parse_runtime_config, restricts
from .options import OPTIONS, Option
from .process import VARIABLES, Settings, TlsFiles, TlsSecret
from .runtime import CONFIG_KEY, IMAGE_REGISTRY, VERSION, ActionConfig, GitConfig, RuntimeConfig

__all__ = [
    "CONFIG_KEY",
    "IMAGE_REGISTRY",
    "OPTIONS",
    "VARIABLES",
    "VERSION",
    "ActionConfig",
    "GitConfig",
    "Option",
    "RuntimeConfig",
    "Settings",
    "TlsFiles",
    "TlsSecret",
    "default_runtime_config_yaml",
    "parse_runtime_config",
    "restricts",
]
