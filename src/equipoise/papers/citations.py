"""Whose work a method is: bibliographic entries, and which of them a trained run or a reproduction rests on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

__all__ = ["CITATIONS", "bibtex", "citations_of"]

CITATIONS: dict[str, Mapping[str, str]] = {
    "eivazi2026equino": {
        "author": "Eivazi, Hamidreza and Tröger, Jendrik-Alexander and Wittek, Stefan and Hartmann, Stefan "
        "and Rausch, Andreas",
        "title": "EquiNO: A Physics-Informed Neural Operator for Multiscale Simulations",
        "journal": "Journal of Computational Physics",
        "year": "2026",
        "eprint": "2504.07976",
    },
    "lu2021deeponet": {
        "author": "Lu, Lu and Jin, Pengzhan and Pang, Guofei and Zhang, Zhongqiang and Karniadakis, George Em",
        "title": "Learning nonlinear operators via DeepONet based on the universal approximation theorem of operators",
        "journal": "Nature Machine Intelligence",
        "volume": "3",
        "pages": "218--229",
        "year": "2021",
        "eprint": "1910.03193",
    },
    "lu2022comparison": {
        "author": "Lu, Lu and Meng, Xuhui and Cai, Shengze and Mao, Zhiping and Goswami, Somdatta and "
        "Zhang, Zhongqiang and Karniadakis, George Em",
        "title": "A comprehensive and fair comparison of two neural operators (with practical extensions) "
        "based on FAIR data",
        "journal": "Computer Methods in Applied Mechanics and Engineering",
        "volume": "393",
        "pages": "114778",
        "year": "2022",
    },
    "li2021fno": {
        "author": "Li, Zongyi and Kovachki, Nikola and Azizzadenesheli, Kamyar and Liu, Burigede and "
        "Bhattacharya, Kaushik and Stuart, Andrew and Anandkumar, Anima",
        "title": "Fourier Neural Operator for Parametric Partial Differential Equations",
        "booktitle": "International Conference on Learning Representations",
        "year": "2021",
        "eprint": "2010.08895",
    },
    "kossaifi2024mgtfno": {
        "author": "Kossaifi, Jean and Kovachki, Nikola and Azizzadenesheli, Kamyar and Anandkumar, Anima",
        "title": "Multi-Grid Tensorized Fourier Neural Operator for High-Resolution PDEs",
        "journal": "Transactions on Machine Learning Research",
        "year": "2024",
        "eprint": "2310.00120",
    },
    "he2024mgno": {
        "author": "He, Juncai and Liu, Xinliang and Xu, Jinchao",
        "title": "MgNO: Efficient Parameterization of Linear Operators via Multigrid",
        "booktitle": "International Conference on Learning Representations",
        "year": "2024",
        "eprint": "2310.19809",
    },
    "berner2025principled": {
        "author": "Berner, Julius and Liu-Schiaffini, Miguel and Kossaifi, Jean and Duruisseaux, Valentin and "
        "Bonev, Boris and Azizzadenesheli, Kamyar and Anandkumar, Anima",
        "title": "Principled Approaches for Extending Neural Architectures to Function Spaces for Operator Learning",
        "year": "2025",
        "eprint": "2506.10973",
    },
    "ronneberger2015unet": {
        "author": "Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas",
        "title": "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "booktitle": "Medical Image Computing and Computer-Assisted Intervention",
        "year": "2015",
        "eprint": "1505.04597",
    },
    "hoerl1970ridge": {
        "author": "Hoerl, Arthur E. and Kennard, Robert W.",
        "title": "Ridge Regression: Biased Estimation for Nonorthogonal Problems",
        "journal": "Technometrics",
        "volume": "12",
        "pages": "55--67",
        "year": "1970",
    },
    "wang2024skr": {
        "author": "Wang, Hong and Hao, Zhongkai and Wang, Jie and Geng, Zijie and Wang, Zhen and Li, Bin and Wu, Feng",
        "title": "Accelerating Data Generation for Neural Operators via Krylov Subspace Recycling",
        "booktitle": "International Conference on Learning Representations",
        "year": "2024",
        "eprint": "2401.09516",
    },
    "parks2006recycling": {
        "author": "Parks, Michael L. and de Sturler, Eric and Mackey, Greg and Johnson, Duane D. and Maiti, Spandan",
        "title": "Recycling Krylov Subspaces for Sequences of Linear Systems",
        "journal": "SIAM Journal on Scientific Computing",
        "volume": "28",
        "pages": "1651--1674",
        "year": "2006",
    },
    "kaneda2023dcdm": {
        "author": "Kaneda, Ayano and Akar, Osman and Chen, Jingyu and Kala, Victoria and Hyde, David and Teran, Joseph",
        "title": "A Deep Conjugate Direction Method for Iteratively Solving Linear Systems",
        "booktitle": "International Conference on Machine Learning",
        "year": "2023",
        "eprint": "2205.10763",
    },
}
"""Fields of each entry by its key."""

_METHODS: dict[str, tuple[str, ...]] = {
    "equino": ("eivazi2026equino",),
    "reduced": ("eivazi2026equino",),
    "fno": ("li2021fno",),
    "tfno": ("kossaifi2024mgtfno", "li2021fno"),
    "mg-tfno": ("kossaifi2024mgtfno", "li2021fno"),
    "mgno": ("he2024mgno",),
    "deeponet": ("lu2021deeponet",),
    "pod-deeponet": ("lu2022comparison", "lu2021deeponet"),
    "unet": ("ronneberger2015unet",),
    "local-fno": ("berner2025principled", "li2021fno"),
    "search directions": ("kaneda2023dcdm",),
    "linear": ("hoerl1970ridge",),
    "nns-to-nos": ("berner2025principled",),
    "skr": ("wang2024skr", "parks2006recycling"),
    "dcdm": ("kaneda2023dcdm",),
}


def citations_of(method: str) -> tuple[str, ...]:
    """Keys of the entries that a model or a reproduction rests on.

    Raises:
        ValueError: for an unknown name, with the nearest one.
    """
    if method not in _METHODS:
        close = difflib.get_close_matches(method, list(_METHODS), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"nothing is known of {method!r}; there are entries for {', '.join(_METHODS)}.{hint}")
    return _METHODS[method]


def bibtex(key: str) -> str:
    """One entry in BibTeX's form."""
    fields = dict(CITATIONS[key])
    kind = "article" if "journal" in fields else "inproceedings" if "booktitle" in fields else "misc"
    if "eprint" in fields:
        fields["archiveprefix"] = "arXiv"
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
