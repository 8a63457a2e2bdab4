"""A plug-in is a file: data sets, backbones, heads and methods are found by their module name."""

import importlib
import pkgutil
from types import ModuleType

from fada_tf.errors import InputError


def names(package: str) -> tuple[str, ...]:
    """Returns the sorted plug-ins of `package`, say "fada_tf.methods", without importing them.

    What several plug-ins are built on is none: `base`, and files whose names begin with `base_`.
    """
    modules = [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    return tuple(sorted(name for name in modules if name.partition("_")[0] != "base"))


def load(package: str, name: str) -> ModuleType:
    """Imports the module `name` of `package`.

    Raises:
      InputError: no such module; the message lists those there are.
    """
    if name not in names(package):
        kind = package.rpartition(".")[2]
        raise InputError(f"{name!r} is not one of the {kind}: choose from {', '.join(names(package))}")
    return importlib.import_module(f"{package}.{name}")


def load_family(package: str, name: str) -> ModuleType | None:
    """Imports the module of `package` whose name `name` begins with, the longest where several do; None: there is none.

    The file of "resnet101", for example, is resnet.py: no other one is imported.
    """
    families = [family for family in names(package) if name.startswith(family)]
    return load(package, max(families, key=len)) if families else None
