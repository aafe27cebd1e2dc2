#!/usr/bin/env python3
"""Writes gguf_blocks.bin: random blocks of each quantised type, and what the Python package `gguf` decodes them to.

The file is a sequence of records: u32 type, u32 blocks, the blocks' bytes, the decoded floats (little-endian).
Scales are finite: a real file has no other, and NaN payloads are nobody's contract. Versions: requirements.txt.
"""

import pathlib
import struct

import gguf
import numpy as np

BLOCKS = 16
TYPES = {  # name: offsets of the half-precision scales in a block
    "F16": [0],
    "BF16": [],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}


def main():
    random = np.random.default_rng(20)
    out = bytearray()
    for name, scales in TYPES.items():
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = BLOCKS * (256 // block if block == 1 else 1)
        data = random.integers(0, 256, (count, size), dtype=np.uint8)
        for offset in scales:
            half = data[:, offset : offset + 2].copy().view(np.uint16)
            half[(half & 0x7C00) == 0x7C00] ^= 0x4000  # No infinity, no NaN.
            half[0] = 0x0001  # The smallest subnormal,
            half[1] = 0x8000  # minus zero,
            half[2] = 0x7BFF  # and the largest number.
            data[:, offset : offset + 2] = half.view(np.uint8)
        if name == "BF16":
            half = data.view(np.uint16)
            half[(half & 0x7F80) == 0x7F80] ^= 0x4000
        values = gguf.quants.dequantize(data.reshape(1, -1), kind).astype("<f4")
        assert values.size == count * block and np.isfinite(values).all(), name
        out += struct.pack("<II", int(kind), count) + data.tobytes() + values.tobytes()
    pathlib.Path(__file__).with_name("gguf_blocks.bin").write_bytes(out)


if __name__ == "__main__":
    main()
