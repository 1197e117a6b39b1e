"""The parts of the emulator that are one small piece of assembly for each of many names."""

from __future__ import annotations

import re

HEAD = [".intel_syntax noprefix", ".text"]
TAIL = ['.section .note.GNU-stack,"",@progbits', ""]


def entry_points(operators: list[str]) -> str:
    """The two functions of each operator's aclnn interface.

    aclnnXGetWorkspaceSize has another signature for each operator. The common part saves the six integer and eight
    floating-point argument registers and hands them, with the address of the stack's arguments and the operator's name,
    to emulated_prepare. aclnnX has one signature and goes to emulated_run.
    """
    lines = list(HEAD)
    for i, name in enumerate(operators):
        lines.append(_function(f"{name}GetWorkspaceSize", f"lea r11,[rip+name{i}]", "jmp prepare"))
        lines.append(_function(name, "jmp emulated_run@PLT"))
    registers = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
    lines += ["prepare: push rbp", "mov rbp,rsp", "sub rsp,192"]
    lines += [f"mov [rsp+{8 * i}],{register}" for i, register in enumerate(registers)]
    lines += [f"movups [rsp+{48 + 16 * i}],xmm{i}" for i in range(8)]
    lines += ["mov rdi,r11", "mov rsi,rsp", "lea rdx,[rsp+48]", "lea rcx,[rbp+16]"]
    lines += ["call emulated_prepare@PLT", "leave", "ret"]
    return "\n".join(lines + _names(operators) + TAIL)


def stubs(names: list[str]) -> str:
    """Functions that the plugin wants and the emulator lacks: emulated_stub is told their name."""
    lines = list(HEAD)
    for i, name in enumerate(names):
        lines.append(_function(name, f"lea rdi,[rip+name{i}]", "jmp emulated_stub@PLT"))
    return "\n".join(lines + _names(names) + TAIL)


def thunks(names: list[str]) -> str:
    """Virtual thunks of functions that pool.cc defines: they add to `this` what the virtual table says.

    `this` is the first argument, or the second where a vector is returned through the first.
    """
    lines = list(HEAD)
    for name in names:
        offset = int(re.match(r"_ZTv0_n(\d+)_", name)[1])
        this = "rsi" if "AllocContinuousTensorMem" in name else "rdi"
        target = re.sub(r"^_ZTv0_n\d+_", "_Z", name)
        lines.append(_function(name, f"mov r10,[{this}]", f"add {this},[r10-{offset}]", f"jmp {target}@PLT"))
    return "\n".join(lines + TAIL)


def _function(name: str, *instructions: str) -> str:
    return f".globl {name}\n.type {name},@function\n{name}: " + "\n ".join(instructions)


def _names(names: list[str]) -> list[str]:
    """The names as strings of the library itself, so that their addresses stay valid."""
    return [".section .rodata"] + [f'name{i}: .asciz "{name}"' for i, name in enumerate(names)]
