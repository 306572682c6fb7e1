"""Headers of checkpoints of several architectures, without any weights."""

from pathlib import Path

from evomerge.layout import CheckpointIndex, TensorInfo

LLAMA = (
    "self_attn.q_proj.weight",
    "self_attn.o_proj.weight",
    "self_attn.q_norm.weight",
    "mlp.gate_proj.weight",
    "mlp.down_proj.weight",
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
)
GPT2 = ("ln_1.weight", "attn.c_attn.weight", "attn.c_proj.bias", "ln_2.bias", "mlp.c_fc.weight")
MIXTRAL = (*LLAMA[:2], "block_sparse_moe.gate.weight", "block_sparse_moe.experts.3.w1.weight")
SSM = ("mixer.in_proj.weight", "mixer.A_log", "norm.weight")
FAMILIES = {
    "llama": ("model.layers", LLAMA, ("model.embed_tokens.weight", "model.norm.weight")),
    "untied": ("model.layers", LLAMA, ("model.embed_tokens.weight", "lm_head.weight")),
    "bare": ("layers", LLAMA, ("embed_tokens.weight", "norm.weight")),
    "gpt2": ("transformer.h", GPT2, ("transformer.wte.weight", "transformer.ln_f.weight")),
    "bare gpt2": ("h", GPT2, ("wte.weight", "wpe.weight", "ln_f.weight")),
    "mixtral": (
        "model.layers",
        (*MIXTRAL, LLAMA[5]),
        ("model.embed_tokens.weight", "lm_head.weight"),
    ),
    "mamba": ("backbone.layers", SSM, ("backbone.embeddings.weight", "backbone.norm_f.weight")),
    "neox": ("gpt_neox.layers", LLAMA, ("gpt_neox.embed_in.weight", "embed_out.weight")),
}


def index_of(family: str, layers: int) -> CheckpointIndex:
    prefix, inner, outer = FAMILIES[family]
    names = [f"{prefix}.{layer}.{name}" for layer in range(layers) for name in inner]
    tensors = {n: TensorInfo(n, "F32", (2, 2), Path("x"), 0, 16) for n in (*names, *outer)}
    return CheckpointIndex(Path("x"), {}, tensors)
