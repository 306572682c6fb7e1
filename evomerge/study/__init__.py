"""Studies: merge methods compared by the evaluation protocols of the literature, from one YAML file.

A study says bases, experts, tasks and methods. It is planned into cells (a method, its policy of
hyperparameters, a subset of the experts, a seed), each cell is merged and scored by the same engines,
stores and searches as everything else here, and the report relates the scores to the experts' and the
base's (Tam et al. 2024, Realistic evaluation of model merging; Yadav et al. 2024, What matters for model
merging at scale). docs/studies.md says what the measures mean, and what the ready studies found.
"""

from evomerge.study.files import load_study, ready_studies
from evomerge.study.plan import Cell, Plan, make_plan
from evomerge.study.spec import StudySpec

__all__ = ["Cell", "Plan", "StudySpec", "load_study", "make_plan", "ready_studies"]
"""What others use."""
