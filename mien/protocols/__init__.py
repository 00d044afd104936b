"""Protocols: which rows a model is fit on, which it is chosen by, which it is reported on, and how these overlap."""

from mien.protocols.named import (
    folded,
    folder,
    folds,
    k_fold,
    leave_one_subject_out,
    official,
    paper_2021,
    splits,
    stratified,
)
from mien.protocols.overlap import CONTAMINATED, Overlap, overlap
from mien.protocols.roles import ROLES, Part, Role, Roles, check_roles, role_ids, without

__all__ = [
    "CONTAMINATED",
    "ROLES",
    "Overlap",
    "Part",
    "Role",
    "Roles",
    "check_roles",
    "folded",
    "folder",
    "folds",
    "k_fold",
    "leave_one_subject_out",
    "official",
    "overlap",
    "paper_2021",
    "role_ids",
    "splits",
    "stratified",
    "without",
]
