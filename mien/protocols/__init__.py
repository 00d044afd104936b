"""Protocols: which rows a model is fit on, which it is chosen by, which it is reported on, and how these overlap."""

from mien.protocols.named import folded, folds
from mien.protocols.overlap import Overlap, overlap, unseen
from mien.protocols.roles import ALL_ROWS, ROLES, UNSEEN_ROWS, Part, Role, Roles, check_roles, role_ids, without

__all__ = [
    "ALL_ROWS",
    "ROLES",
    "UNSEEN_ROWS",
    "Overlap",
    "Part",
    "Role",
    "Roles",
    "check_roles",
    "folded",
    "folds",
    "overlap",
    "role_ids",
    "unseen",
    "without",
]
