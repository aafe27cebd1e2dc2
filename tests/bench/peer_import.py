"""What a team's own script does to open a GGUF: transformers loads the tokenizer and the model. The peer of `import`.

    peer_import.py MODEL.gguf

Prints the seconds of loading, without the interpreter's start and the imports.
"""
import sys
import time
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

path = Path(sys.argv[1])
start = time.perf_counter()
AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name)
print(f"{time.perf_counter() - start:.3f}")
