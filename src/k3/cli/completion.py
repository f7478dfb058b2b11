"""`k3 completion`: prints what a shell needs to complete the words of a command line.

The words themselves come from `k3.cli.completing`, which each of the scripts asks.
"""

from typing import Final

from k3.cli.flags import Parser
from k3.cli.terminal import answer

_EXAMPLES: Final = """\
  source <(k3 completion bash)
  k3 completion bash > /etc/bash_completion.d/k3
  k3 completion zsh > "${fpath[1]}/_k3"
  k3 completion fish > ~/.config/fish/completions/k3.fish"""
_BASH: Final = r"""# bash completion for k3
_k3() {
    local current=$2 word line words=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == = ]] || words+=("$word")  # bash takes --flag=value for three words
    done
    [[ $current == = ]] && current=
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("$1" __complete -- "${words[@]}" "$current" 2>/dev/null)
}
complete -F _k3 k3
"""
_ZSH: Final = r"""#compdef k3
# zsh completion for k3
_k3() {
    local line
    local -a found
    for line in "${(@f)$("${(Q)words[1]}" __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe k3 found
}
if [[ ${funcstack[1]} == _k3 ]]; then
    _k3 "$@"
else
    compdef _k3 k3
fi
"""
_FISH: Final = r"""# fish completion for k3
function __k3_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete -- $words[2..-1] $current 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path $current
        else
            echo $line
        end
    end
end
complete -c k3 -f -a '(__k3_complete)'
"""
_SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(arguments: list[str]) -> int:
    """Prints the script."""
    parser = Parser("completion", "Print what a shell needs to complete the words of k3.", examples=_EXAMPLES)
    parser.add_argument("shell", choices=tuple(_SCRIPTS), metavar="SHELL", help="bash, zsh or fish")
    answer(_SCRIPTS[parser.parse_args(arguments).shell])
    return 0
