# Sourced by demo.sh and test.sh: makes the virtual environment and installs the package into it.
# shellcheck shell=bash

# ms_omni_setup ROOT EXTRA: afterwards ms_omni_python names the environment's Python.
# ROOT is the project directory, EXTRA is "" or an extra of pyproject.toml such as "[test]".
# VENV names the environment (default ROOT/.venv), PYTHON the interpreter to make it with.
ms_omni_setup() {
    local root=$1 extra=$2
    local venv=${VENV:-$root/.venv}
    local stamp=$venv/.ms_omni_installed$extra
    ms_omni_python=$venv/bin/python
    local wanted
    wanted=$(cksum <"$root/pyproject.toml")
    if [[ -x $ms_omni_python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
        return
    fi
    [[ -x $ms_omni_python ]] || ms_omni_make_venv "$venv"
    echo "Installing into $venv (some minutes and 3.3 GB of disk the first time) ..." >&2
    # The MindSpore that all tests are run with; newer ones are allowed (docs/doctor.md)
    "$ms_omni_python" -m pip install --quiet --disable-pip-version-check --editable "$root$extra" mindspore==2.7.1 >&2
    printf '%s\n' "$wanted" >"$stamp"
}

# ms_omni_make_venv DIR: an empty environment with pip.
ms_omni_make_venv() {
    local venv=$1 python
    python=$(ms_omni_find_python)
    echo "Making $venv with $("$python" --version) ..." >&2
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "$venv"
    else
        # Debian without python3-venv: pip can install into an environment that has no pip
        "$python" -m venv --without-pip "$venv"
        "$python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check pip
    fi
}

# ms_omni_find_python: prints the name of a Python that MindSpore has wheels for.
ms_omni_find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.10 python3; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.10 or 3.11 found: the package needs one. Install it, or name it with PYTHON=/path/to/python." >&2
    return 1
}
