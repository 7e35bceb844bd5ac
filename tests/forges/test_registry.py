"""A forge is one value: a part of it that is forgotten fails here."""

import importlib
import pkgutil
from pathlib import Path
from typing import get_args

import pytest

from git_events_runner.resources.triggers import AuthType
from git_events_runner.rules import forge_links, forges
from git_events_runner.rules.forges.forge import Forge
from git_events_runner.rules.forges.registry import BY_NAME, FORGES
from tests.forges import deliveries

_GENERIC = {"header", "standard-webhooks", "hmac"}
_GUIDES = Path(__file__).parents[2] / "docs" / "webhooks"


def test_the_registry_has_the_forge_of_each_file():
    """A file with a `Forge` that the tuple lacks would never be used."""
    modules = [
        importlib.import_module(f"{forges.__name__}.{each.name}") for each in pkgutil.iter_modules(forges.__path__)
    ]
    names = {value.name for module in modules for value in vars(module).values() if isinstance(value, Forge)}
    assert names == {forge.name for forge in FORGES}
    assert len(BY_NAME) == len(FORGES)


def test_each_forge_is_a_type_of_the_crd():
    """`authConfig.type` has the forges of the registry and the types of no forge."""
    assert set(get_args(AuthType)) - _GENERIC == set(BY_NAME)


@pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
def test_each_forge_has_its_other_parts(forge):
    """A guide, pages of commits, an id that recognises a repeated delivery."""
    assert (_GUIDES / f"{forge.name}.md").is_file()
    assert forge.name in forge_links._COMMIT_PATHS
    assert forge.delivery_ids or forge.delivery_id_of
    assert any(name.startswith(forge.name) for name in vars(deliveries))


@pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
def test_headers_are_in_lower_case(forge):
    """Headers are looked up in lower case: another spelling would never match."""
    names = [*forge.events, *forge.delivery_ids, *forge.own_delivery_ids]
    assert names == [name.lower() for name in names]
