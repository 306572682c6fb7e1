"""SCE: select the entries on which models differ most, weight models by their energy, elect signs.

The published code uses the selection for the weights alone and merges whole deltas (`variant:
official`); the paper's text and mergekit merge the selected entries (`selected`).
"""

from evomerge.methods.arithmetic import elect_kernel
from evomerge.methods.base import Method, Parameter, Trim
from evomerge.methods.parameters import INT8_MASK

SCE = Method(
    name="sce",
    doc="Selects entries by their variance over the models, weights models by energy, elects signs.",
    formula="θ₀ + Σ ηᵢ δ̂ᵢ mᵢ / Σ ηᵢ mᵢ,  ηᵢ = ‖δ̂ᵢ‖² / Σ‖δ̂ⱼ‖²,  mᵢ = [sgn δ̂ᵢ = sgn Σ δ̂ⱼ]",
    source="Wan et al. 2024, FuseChat",
    parameters=(
        Parameter(
            "select_topk",
            "share of the entries that are selected, of those with a variance above 0",
            1.0,
            low=0.0,
            high=1.0,
            low_open=True,
            search=(0.05, 1.0),
        ),
        Parameter(
            "variant",
            "`selected`: only selected entries are merged; `official`: they only make the weights",
            "selected",
            kind="choice",
            choices=("selected", "official"),
        ),
        INT8_MASK,
    ),
    kernel=elect_kernel,
    base="required",
    trim=Trim.VARIANCE,
    vote="delta",
)
