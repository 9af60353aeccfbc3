"""Readers of the public question sets, and of our own JSONL: any of them as a list of Questions."""

from gag.evaluation.datasets.catalogue import DATASETS, Dataset
from gag.evaluation.datasets.reading import dataset_names, read_dataset, read_own

__all__ = ["DATASETS", "Dataset", "dataset_names", "read_dataset", "read_own"]
