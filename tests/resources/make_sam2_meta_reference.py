"""Writes sam2_meta_reference.npz: what Meta's own code makes of a reduced SAM 2.

    pip install sam2    # Meta's code as the registry carries it; here version 1.1.0
    PYTHONPATH=tests/resources python tests/resources/make_sam2_meta_reference.py

The weights are not stored: `weight` draws each of them from its name. Stored are the names and
shapes of Meta's state dict, and the masks of one image.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIZE = 128
WIDTH = 32
BOXES = np.array([[8, 12, 70, 90], [40, 40, 120, 110], [2, 3, 30, 28]], dtype=np.float32)
FILE = Path(__file__).with_name("sam2_meta_reference.npz")

OVERRIDES = [
    f"model.image_size={SIZE}",
    "model.image_encoder.trunk.embed_dim=16",
    "model.image_encoder.trunk.stages=[1,1,2,1]",
    "model.image_encoder.trunk.global_att_blocks=[3]",
    "+model.image_encoder.trunk.window_spec=[8,4,4,2]",
    f"model.image_encoder.neck.d_model={WIDTH}",
    f"model.image_encoder.neck.position_encoding.num_pos_feats={WIDTH}",
    "model.image_encoder.neck.backbone_channel_list=[128,64,32,16]",
    f"model.memory_attention.d_model={WIDTH}",
    f"model.memory_attention.layer.d_model={WIDTH}",
    f"model.memory_attention.layer.self_attention.embedding_dim={WIDTH}",
    f"model.memory_attention.layer.cross_attention.embedding_dim={WIDTH}",
    f"+model.memory_encoder.in_dim={WIDTH}",
    f"+model.memory_encoder.mask_downsampler.embed_dim={WIDTH}",
    f"model.memory_encoder.fuser.layer.dim={WIDTH}",
    # as Meta's image predictor sets it
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
]


def weight(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The weight of a name in Meta's state dict: the same everywhere, about N(0, 0.2)."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape) * 0.2
    if name.endswith("weight") and len(shape) == 1:  # of a norm
        drawn += 1.0
    return drawn.astype(np.float32)


def pixels() -> npt.NDArray[np.float32]:
    """The input of the model, (3, SIZE, SIZE)."""
    drawn = np.random.default_rng(1).standard_normal((3, SIZE, SIZE))
    return drawn.astype(np.float32)


def main() -> None:
    import sam2.build_sam  # noqa: F401  # initialises Hydra
    import torch
    from hydra import compose
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    config = compose("configs/sam2.1/sam2.1_hiera_t.yaml", overrides=OVERRIDES)
    OmegaConf.resolve(config)
    model = instantiate(config.model, _recursive_=True).eval()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(
        {name: torch.from_numpy(weight(name, shape)) for name, shape in shapes.items()}
    )
    with torch.inference_mode():
        _, features, _, sizes = model._prepare_backbone_features(
            model.forward_image(torch.from_numpy(pixels())[None])
        )
        features[-1] = features[-1] + model.no_mem_embed
        maps = [
            feature.permute(1, 2, 0).view(1, -1, *size)
            for feature, size in zip(features, sizes, strict=True)
        ]
        corners = torch.from_numpy(BOXES).reshape(-1, 2, 2)
        labels = torch.tensor([[2, 3]]).repeat(len(BOXES), 1)
        sparse, dense = model.sam_prompt_encoder((corners, labels), boxes=None, masks=None)
        masks, ious, _, _ = model.sam_mask_decoder(
            image_embeddings=maps[-1],
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            repeat_image=True,
            high_res_features=maps[:-1],
        )
    np.savez_compressed(
        FILE,
        names=np.array(list(shapes)),
        shapes=np.array([",".join(map(str, shape)) for shape in shapes.values()]),
        masks=masks[:, 0].numpy(),
        ious=ious[:, 0].numpy(),
    )


if __name__ == "__main__":
    main()
