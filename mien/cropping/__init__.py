"""A data set cut by region: every row of another one, its image cut by the points of its face."""

from mien.cropping.cutting import SOURCES, cut_images
from mien.cropping.sheets import SHEETS
from mien.cropping.writing import crop_dataset, share

__all__ = ["SHEETS", "SOURCES", "crop_dataset", "cut_images", "share"]
