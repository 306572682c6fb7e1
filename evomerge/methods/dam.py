"""DAM: a coefficient for every column of every model's matrices, learned from the models' own answers.

The declaration alone: `evomerge dam` learns (`evomerge.merging.dam`), `evomerge merge` applies what was
learned. docs/dam.md has it all.
"""

from evomerge.methods.base import Method, Parameter

DAM = Method(
    name="dam",
    doc="Scales the columns of every model's matrices by learned coefficients and adds them up; the "
    "merged model shall answer as each model does on that model's texts.",
    formula="W[:,k] = Σ cᵢₖ Wᵢ[:,k];  min Σ KL(pᵢ ‖ p) T² + λₛ Σ cos(cᵢ, cⱼ) + λₒ Σ min(|cᵢ|, |cⱼ|) + …",
    source="Gauthier-Caron et al. 2024, Merging in a bottle: differentiable adaptive merging (DAM)",
    parameters=(
        Parameter(
            "weight", "where the model's coefficients begin; −1: at 1/N", -1.0, per_model=True
        ),
        Parameter(
            "teacher",
            "whether the merged model learns from it, on its texts",
            True,
            per_model=True,
            kind="bool",
        ),
        Parameter("steps", "of learning; 0: every text once", 0.0, kind="int", low=0.0),
        Parameter("batch_size", "texts of each model in one step", 1.0, kind="int", low=1.0),
        Parameter("lr", "learning rate, constant", 1e-3, low=0.0, search=(1e-4, 1e-1), scale="log"),
        Parameter(
            "temperature", "T of both distributions", 2.0, low=0.0, low_open=True, search=(1, 4)
        ),
        Parameter(
            "divergence",
            "`kl` to the teacher (the paper), `mse` of the logits, or the merged model's `entropy`",
            "kl",
            kind="choice",
            choices=("kl", "mse", "entropy"),
        ),
        Parameter(
            "similarity", "λₛ: keeps models' coefficients apart", 0.01, low=0.0, search=(0.0, 1.0)
        ),
        Parameter("overlap", "λₒ: keeps columns from being shared", 0.0, low=0.0),
        Parameter(
            "weighted_overlap",
            "the same by sin²(2∠) of the columns' deltas: columns that neither agree nor are "
            "independent; needs base_model",
            0.0,
            low=0.0,
        ),
        Parameter("l1", "of the coefficients", 0.0, low=0.0),
        Parameter("l2", "of the coefficients", 0.0, low=0.0),
        Parameter(
            "granularity",
            "a coefficient for each input `column`, for each `tensor`, or for a whole `model`",
            "column",
            kind="choice",
            choices=("column", "tensor", "model"),
        ),
        Parameter(
            "nonlinearity",
            "around each coefficient",
            "none",
            kind="choice",
            choices=("none", "tanh", "sigmoid", "relu"),
        ),
        Parameter("embeddings", "learn those of embeddings too", False, kind="bool"),
        Parameter("norms", "learn those of norms too", False, kind="bool"),
        Parameter(
            "update",
            "share of each tensor's coefficients that a step changes, those of the largest momentum "
            "(MoFO); 1: AdamW",
            0.3,
            low=0.0,
            low_open=True,
            high=1.0,
        ),
        Parameter("weight_decay", "of AdamW; the published code has 0.01", 0.0, low=0.0),
        Parameter("clip", "of the gradient's norm", 1.0, low=0.0, low_open=True),
    ),
    base="optional",
    min_models=2,
    rebuilds=True,
    learned=True,
)
