"""Lists of entities in gmsh files: what gets the group 0, what stays as it is, and lists that end early."""

from __future__ import annotations

import struct

import pytest

from equipoise.spaces.gmsh_entities import with_every_entity_in_a_group

BEFORE = b"$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$Entities\n"
AFTER = b"$EndEntities\n$Nodes\n$Elements\n"
TEXT = b"1 1 1 0\n4 0 0 0 0 \n5 0 0 0 1 0 0 1 9 2 4 -4 \n6 0 0 0 1 1 0 0 1 5 \n"


def test_text_list_gets_group_zero_only_where_there_is_none() -> None:
    assert with_every_entity_in_a_group(BEFORE + TEXT + AFTER) == (
        BEFORE + b"1 1 1 0\n4 0 0 0 1 0\n5 0 0 0 1 0 0 1 9 2 4 -4\n6 0 0 0 1 1 0 1 0 1 5\n" + AFTER
    )


@pytest.mark.parametrize(("size", "width"), [("Q", 8), ("I", 4)])
def test_binary_list_gets_group_zero_only_where_there_is_none(size: str, width: int) -> None:
    def listed(*groups: int) -> bytes:
        return struct.pack(f"={size}{len(groups)}i", len(groups), *groups)

    def content(point: bytes, surface: bytes) -> bytes:
        head = b"$MeshFormat\n4.1 1 %d\n" % width + struct.pack("=i", 1) + b"\n$EndMeshFormat\n$Entities\n"
        curve = struct.pack("=i6d", 5, *range(6)) + listed(9) + listed(4, -4)
        return (
            head + struct.pack(f"=4{size}", 1, 1, 1, 0) + struct.pack("=i3d", 4, 0, 0, 0) + point + curve
            + struct.pack("=i6d", 6, *range(6)) + surface + listed(5) + b"\n" + AFTER
        )  # fmt: skip

    assert with_every_entity_in_a_group(content(listed(), listed())) == content(listed(0), listed(0))


@pytest.mark.parametrize(
    "content", [b"", b"$MeshFormat\n2.2 0 8\n$EndMeshFormat\n", BEFORE.replace(b"$Entities", b"$N")]
)
def test_other_versions_and_files_without_the_list_are_left_to_the_reader(content: bytes) -> None:
    assert with_every_entity_in_a_group(content) is None


@pytest.mark.parametrize("cut", [b"", b"1 1 1 0\n", TEXT[:30], b"2 1 1 0\n" + TEXT[8:], b"x 0 0 0"])
def test_text_list_that_ends_early_is_refused(cut: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        with_every_entity_in_a_group(BEFORE + cut + AFTER)
    with pytest.raises((ValueError, IndexError)):
        with_every_entity_in_a_group(BEFORE + TEXT[:20])


def test_binary_list_that_ends_early_is_refused() -> None:
    head = b"$MeshFormat\n4.1 1 8\n" + struct.pack("=i", 1) + b"\n$EndMeshFormat\n$Entities\n"
    with pytest.raises(ValueError, match="ends early"):
        with_every_entity_in_a_group(head + struct.pack("=4Q", 10**6, 0, 0, 0))
