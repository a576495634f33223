# bash completion for maph-replica                                            -*- shell-script -*-
#
# Commands, options and the words an option takes are read from the help of the program that is
# being completed, so that they are always its own.

# The options of COMMAND, as "--name PLACEHOLDER".
_maph_replica_options() {
  "$1" --help 2>/dev/null | awk -v command="$2" '
    /All commands take/ { part = "*" }
    /^[a-z]+:$/ { part = substr($0, 1, length($0) - 1) }
    /^  --/ && (part == "*" || part == command) {
      print $1, (substr($2, 1, 1) ~ /[A-Za-z]/ ? $2 : "")
    }'
}

_maph_replica() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} program=${COMP_WORDS[0]}
  local command=${COMP_WORDS[1]} words
  local IFS=$' \t\n'
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=$("$program" --help 2>/dev/null | sed -n 's/^    maph-replica \([a-z]*\) .*/\1/p')
    COMPREPLY=($(compgen -W "$words --help --version" -- "$cur"))
    return
  fi
  if [[ $prev == --* ]]; then
    words=$(_maph_replica_options "$program" "$command" | sed -n "s/^$prev \(.*|.*\)/\1/p")
    if [ -n "$words" ]; then
      COMPREPLY=($(compgen -W "${words//|/ }" -- "$cur"))
      return
    fi
  fi
  if [[ $cur == -* ]]; then
    words=$(_maph_replica_options "$program" "$command" | cut -d ' ' -f 1)
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    return
  fi
  compopt -o filenames 2>/dev/null
  IFS=$'\n'
  COMPREPLY=($(compgen -f -- "$cur"))
}

complete -F _maph_replica maph-replica
