"""Run as a script: vLLM as anybody starts it, on one folder; its log-probabilities of prompts, as JSON."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from evomerge.evaluation.self_test import canary, canary_prompts


def main(folder: Path, out: Path) -> None:
    from vllm import LLM

    engine = LLM(
        model=str(folder),
        dtype="float32",
        enforce_eager=True,
        max_model_len=64,
        kv_cache_memory_bytes=64 << 20,
        skip_tokenizer_init=True,
    )
    found = canary(SimpleNamespace(model=engine), canary_prompts(folder))
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
