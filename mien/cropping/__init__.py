"""A data set cut by region: every row of another one, its image cut by the points of its face."""

from mien.cropping.cutting import cut_images
from mien.cropping.sheets import write_sheets
from mien.cropping.writing import SOURCES, crop_dataset, share

__all__ = ["SOURCES", "crop_dataset", "cut_images", "share", "write_sheets"]
