"""Where transformers 4.57.1 is wrong or random, what it should do instead; each patch says why. Needs torch.

Import this before transformers: the first patch concerns importing torchvision.
"""

from __future__ import annotations

from typing import Any

import torch


def allow_torchvision_without_its_extension() -> None:
    """torchvision wheels of the package index are linked against CUDA's torch. Beside a CPU torch their C extension
    does not load, and the import fails because the operators it would have registered are missing. Only box operators
    are affected, which nothing here calls: declaring their signatures is enough."""
    try:
        import torchvision
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        allow_torchvision_without_its_extension.library = library  # type: ignore[attr-defined]  # keeps it alive
        import torchvision  # noqa: F401


def window_audio_attention(model: Any) -> None:
    """The audio encoder attends within windows of n_window_infer mel frames (8 s). transformers passes the windows
    (cu_seqlens) to flash attention only; eager and sdpa get no mask and attend over the whole clip. The model was
    trained with windows, so the block-diagonal mask that transformers builds but never uses is applied."""
    encoder = model.thinker.audio_tower
    for layer in encoder.layers:
        plain = layer.forward

        def forward(hidden_states: Any, cu_seqlens: Any, plain: Any = plain) -> Any:
            mask = encoder._prepare_attention_mask(hidden_states, cu_seqlens)
            return plain(hidden_states, cu_seqlens, attention_mask=mask)

        layer.forward = forward


def join_image_and_video(model: Any) -> None:
    """With an image and a video in one conversation 4.57.1 joins their deepstack features under masks that were already
    expanded over the hidden size, and fails (shape mismatch). Masks with one column do what transformers 5.17 does, and
    every other use of them broadcasts."""
    thinker = model.thinker
    plain = thinker.get_placeholder_mask

    def get_placeholder_mask(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return tuple(mask[..., :1] for mask in plain(*args, **kwargs))

    thinker.get_placeholder_mask = get_placeholder_mask


def greedy_code_predictor(model: Any) -> None:
    """The Talker calls its code predictor with do_sample=True, top_k=50, top_p=0.8 whatever the user asked for. A
    reference must not depend on a random generator."""
    predictor = model.talker.code_predictor
    plain = predictor.generate

    def generate(**kwargs: Any) -> Any:
        kwargs.pop("top_k")
        kwargs.pop("top_p")
        kwargs["do_sample"] = False
        return plain(**kwargs)

    predictor.generate = generate


def single_shot_code2wav(model: Any) -> None:
    """chunked_decode drops 555 samples at every chunk boundary and starts each chunk with too little context. The
    single shot is what it approximates."""
    model.code2wav.chunked_decode = lambda codes, **_: model.code2wav(codes)


def patch(model: Any) -> Any:
    """Apply every patch that fits the checkpoint (one without a Talker has only a Thinker)."""
    window_audio_attention(model)
    join_image_and_video(model)
    if model.has_talker:
        greedy_code_predictor(model)
        single_shot_code2wav(model)
    return model
