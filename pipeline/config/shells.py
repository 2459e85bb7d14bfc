"""The code that has bash and zsh ask `pipeline.complete` for what the Tab key offers.

The commands run as `python -m pipeline.train` or `uv run python -m pipeline.train`, so `python` and `uv` get a
completion that answers for our lines and hands every other one to what completed them before.
"""

import os
import shlex
import sys

from pipeline.config.completion import COMMANDS
from pipeline.installation import SOURCE

PROGRAMS = ("python", "python3", "uv", *(f"bias-{command}" for command in COMMANDS))

BASH = r"""
_bias_pipeline_query() { PYTHONPATH=@PLACE@ @PYTHON@ -P -m pipeline.complete --query "$1" 2> /dev/null; }

_bias_pipeline() {
    local line=${COMP_LINE:0:COMP_POINT} word breaks prefix before IFS=$'\n'
    local ours='(^|[[:space:]/])(-m[[:space:]]+pipeline\.(@COMMANDS@)|bias-(@COMMANDS@))[[:space:]]'
    if ! [[ $line =~ $ours ]]; then
        before=_bias_pipeline_before_${1##*/}
        before=${!before-}
        if [ -n "$before" ]; then
            unset IFS
            "$before" "$@"
            return
        fi
        compopt -o bashdefault -o default
        return
    fi
    set -o noglob
    COMPREPLY=($(_bias_pipeline_query "$line"))
    set +o noglob
    compopt +o default +o bashdefault
    if [ ${#COMPREPLY[@]} -eq 0 ]; then return; fi
    word=${line##*[[:space:]]}
    breaks=${COMP_WORDBREAKS//[!=:]/} # readline replaces only what follows the last of them
    if [ -n "$breaks" ]; then
        prefix=${word%"${word##*[$breaks]}"}
        COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    fi
    if [ ${#COMPREPLY[@]} -eq 1 ]; then case ${COMPREPLY[0]} in *[=./]) compopt -o nospace ;; esac; fi
}

for _bias_pipeline_name in @PROGRAMS@; do
    if ! complete -p "$_bias_pipeline_name" > /dev/null 2>&1; then # bash-completion loads when it is first asked
        if declare -F _comp_load > /dev/null; then
            _comp_load "$_bias_pipeline_name" > /dev/null 2>&1 || true
        elif declare -F _completion_loader > /dev/null; then
            _completion_loader "$_bias_pipeline_name" > /dev/null 2>&1 || true
        fi
    fi
    _bias_pipeline_spec=$(complete -p "$_bias_pipeline_name" 2> /dev/null || true)
    if [[ $_bias_pipeline_spec =~ \ -F\ ([^ ]+) ]] && [ "${BASH_REMATCH[1]}" != _bias_pipeline ]; then
        case ${BASH_REMATCH[1]} in
            _minimal | _comp_complete_minimal) ;; # what bash-completion sets where it knows nothing
            *) eval "_bias_pipeline_before_$_bias_pipeline_name=\${BASH_REMATCH[1]}" ;;
        esac
    fi
    complete -F _bias_pipeline "$_bias_pipeline_name"
done
unset _bias_pipeline_name _bias_pipeline_spec
"""

ZSH = r"""
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }

_bias_pipeline_query() { PYTHONPATH=@PLACE@ @PYTHON@ -P -m pipeline.complete --query "$1" 2> /dev/null }

_bias_pipeline() {
    local line="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" word
    local ours='(^|[[:space:]/])(-m[[:space:]]+pipeline\.(@COMMANDS@)|bias-(@COMMANDS@))[[:space:]]'
    if ! [[ $line =~ $ours ]]; then
        local before=${_bias_pipeline_before[${words[1]:t}]:-_default}
        $before "$@"
        return
    fi
    local -a open closed
    for word in "${(@f)$(_bias_pipeline_query "$line")}"; do
        case $word in
            '') ;;
            *[=./]) open+=("$word") ;;
            *) closed+=("$word") ;;
        esac
    done
    compadd -Q -S '' -a open
    compadd -Q -a closed
    (( $#open + $#closed ))
}

typeset -gA _bias_pipeline_before
() {
    setopt local_options extended_glob
    local name pattern before
    for name in @PROGRAMS@; do
        before=${_comps[$name]-}
        for pattern in ${(k)_patcomps} ${(k)_postpatcomps}; do # `python` is one of a pattern, python3.12 too
            [[ -z $before && $name == $~pattern ]] && before=${_patcomps[$pattern]:-$_postpatcomps[$pattern]}
        done
        [[ ${before:-_bias_pipeline} == _bias_pipeline ]] || _bias_pipeline_before[$name]=$before
        compdef _bias_pipeline $name
    done
}
"""

SHELLS = {"bash": BASH, "zsh": ZSH}


def shell_code(shell: str) -> str:
    """The code that a shell evaluates to complete our commands."""
    place = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    values = {"@PYTHON@": shlex.quote(sys.executable), "@PLACE@": shlex.quote(place),
              "@COMMANDS@": "|".join(COMMANDS), "@PROGRAMS@": " ".join(PROGRAMS)}  # fmt: skip
    code = SHELLS[shell]
    for name, value in values.items():
        code = code.replace(name, value)
    return code.lstrip()
