"""The audit of a data set: copies within and across splits, unusable pictures, doubtful labels.

Nothing is deleted: findings are flags by row, which an experiment's `exclude:` takes.
"""

from mien.audit.copies import Copies, copies
from mien.audit.findings import FLAGS
from mien.audit.scan import pixel_hashes
from mien.audit.storage import audit, found_flags, last_audit, read_flags

__all__ = ["FLAGS", "Copies", "audit", "copies", "found_flags", "last_audit", "pixel_hashes", "read_flags"]
