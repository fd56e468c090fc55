//! What is added to clap's script for bash: clap offers options everywhere, also behind the job.

use clap::Command;

use super::completions::with_value;

/// Looks for the job's place: the first word that is neither an option nor an option's value. `OPTIONS` are those with
/// values. Readline takes `=` for a word of its own.
const SCRIPT: &str = r#"
FUNCTION_or_job() {
    local at
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
            --) ((at++)); break ;;
            OPTIONS)
                [[ ${COMP_WORDS[at + 1]} == = ]] && ((at++))
                ((at++)) ;;
            -*) ;;
            *) break ;;
        esac
    done
    if ((at > COMP_CWORD)) || [[ $at -eq $COMP_CWORD && $2 == -* && $3 != -- ]]; then
        FUNCTION "$@"
    elif ((at == COMP_CWORD)) && [[ " ${COMP_WORDS[*]} " == *" --exe"[\ =]* ]]; then
        COMPREPLY=()
    elif ((at == COMP_CWORD)); then
        COMPREPLY=($(compgen -W "$("$1" --list-names 2>/dev/null)" -- "$2"))
    elif ((at + 1 == COMP_CWORD)) && [[ ${COMP_WORDS[at]} == exec ]]; then
        COMPREPLY=($(compgen -c -- "$2"))
    else
        COMPREPLY=()
    fi
}

complete -F FUNCTION_or_job -o bashdefault -o default NAME
"#;

/// The end of the script.
pub(super) fn jobs(command: &Command, name: &str) -> String {
    // As clap names it.
    let function = format!("_{}", name.replace('-', "__"));
    SCRIPT
        .replace("FUNCTION", &function)
        .replace("OPTIONS", &with_value(command).join(" | "))
        .replace("NAME", name)
}
