"""Protocols: which rows a model is fit on, which it is chosen by, which it is reported on, and how these overlap."""

from mien.protocols.named import folded, folds
from mien.protocols.overlap import Overlap, overlap
from mien.protocols.roles import ROLES, Part, Role, Roles, check_roles, role_ids, without

__all__ = [
    "ROLES",
    "Overlap",
    "Part",
    "Role",
    "Roles",
    "check_roles",
    "folded",
    "folds",
    "overlap",
    "role_ids",
    "without",
]
