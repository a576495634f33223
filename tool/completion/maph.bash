# bash completion for maph                                                    -*- shell-script -*-
#
# Commands, options and the words an option takes are read from the help of the program that is
# being completed, so that they are always its own.  Keys are offered where a key stands, as far as
# a quarter of a second of scanning finds them.

# The lines of COMMAND's help that begin an option, as "--name words".
_maph_options() {
  "$1" "$2" --help 2>/dev/null |
    sed -n 's/^ *\(-., \)\{0,1\}\(--[a-z-]*\) \{0,1\}\([^ ]*\).*/\2 \3/p'
}

# The options of COMMAND that take a value, long and short.
_maph_valued() {
  "$1" "$2" --help 2>/dev/null |
    sed -n 's/^ *\(-.\), \(--[a-z-]*\) [^ ].*/\1 \2/p; s/^ *\(--[a-z-]*\) [^ ].*/\1/p' |
    tr '\n' ' '
}

_maph() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
  local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} words valued operand=0 i store
  local IFS=$' \t\n'
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ] || { [ "$COMP_CWORD" -eq 2 ] && [ "$command" = help ]; }; then
    words=$("$program" --help 2>/dev/null | sed -n 's/^  maph \([a-z]*\)  *[A-Z].*/\1/p')
    [ "$COMP_CWORD" -eq 1 ] && words="$words help --help --version"
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    return
  fi
  if [[ $prev == --* ]]; then
    words=$(_maph_options "$program" "$command" | sed -n "s/^$prev \(.*|.*\)/\1/p")
    if [ -n "$words" ]; then
      COMPREPLY=($(compgen -W "${words//|/ }" -- "$cur"))
      return
    fi
  fi
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$(_maph_options "$program" "$command" | cut -d ' ' -f 1)" -- "$cur"))
    return
  fi
  valued=" $(_maph_valued "$program" "$command")"
  for ((i=2; i<COMP_CWORD; i++)); do
    if [[ $valued == *" ${COMP_WORDS[i]} "* ]]; then
      i=$((i+1))
    elif [[ ${COMP_WORDS[i]} != -* ]]; then
      operand=$((operand+1))
      [ $operand -eq 1 ] && store=${COMP_WORDS[i]}
    fi
  done
  case $command in
    get|set|increment|del|mget)
      if [ $operand -ge 1 ] && [ -f "$store" ]; then
        # Keys with blanks or escapes would need quoting that depends on what is typed already: they
        # are left out.
        words=$(timeout 0.25 "$program" scan --limit 200 --prefix "$cur" -- "$store" 2>/dev/null |
          grep -v '[^A-Za-z0-9_.,:/@%+=-]')
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
        type __ltrimcolon_completions >/dev/null 2>&1 && __ltrimcolon_completions "$cur"
        return
      fi ;;
  esac
  compopt -o filenames 2>/dev/null
  IFS=$'\n'
  COMPREPLY=($(compgen -f -- "$cur"))
}

complete -F _maph maph
