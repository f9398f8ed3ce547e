#!/usr/bin/env bash
# One real prompt, fused by three local members and a local judge: what `make demo` shows after the
# build. Fetches the model runtime once; from then on it needs no network. Provider keys in the
# environment are never used without a yes.
set -euo pipefail
cd "$(dirname "$0")/.."
prompt='What causes the seasons? Answer in two sentences.'
fusor=$PWD/build/fusor

tools/deps.sh demo
runtime/setup.sh .runtime

# A place of its own: the demo neither finds a running server nor writes into anybody's ledger.
export XDG_STATE_HOME=$PWD/build/demo
mkdir -p "$XDG_STATE_HOME"
unset FUSOR_URL FUSOR_KEY FUSOR_CONFIG

bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '%s\n' "$*"; }

say
say "${bold}fusor ask -c fusor.example.yaml \"$prompt\"${plain}"
say 'Three members (SmolLM2-135M-Instruct at temperatures 0.2, 0.5 and 0.7) and a judge, all on this'
say 'machine. A 135M model shows the mechanism, not the quality.'
say
"$fusor" ask -c fusor.example.yaml "$prompt"

keys=()
for name in ANTHROPIC_API_KEY OPENAI_API_KEY GEMINI_API_KEY MISTRAL_API_KEY OPENROUTER_API_KEY; do
    [[ -z ${!name:-} ]] || keys+=("$name")
done
if [[ ${#keys[@]} -gt 0 ]]; then
    say
    say "${bold}With your keys${plain} (${keys[*]}) the recipe \`fusion\` asks one current model of each provider:"
    say
    # Not here, where a fusor.yaml may lie; max_tokens makes the bound a small one.
    (cd "$XDG_STATE_HOME" && "$fusor" plan --max-tokens 400 "$prompt") || true
    answer=no
    if [[ -t 0 ]]; then
        say
        read -r -p 'Call them and pay for it? [y/N] ' answer || answer=no
    else
        say 'Nobody was called: there is no terminal to ask on.'
    fi
    if [[ $answer == [yY]* ]]; then
        (cd "$XDG_STATE_HOME" && "$fusor" ask --max-tokens 400 "$prompt")
    fi
fi

say
say "${bold}Go on${plain}"
say '  build/fusor serve -c fusor.example.yaml      # then, in another terminal:'
say "  curl -s http://127.0.0.1:8420/v1/chat/completions -H 'content-type: application/json' \\"
say "    -d '{\"model\": \"fusion\", \"messages\": [{\"role\": \"user\", \"content\": \"$prompt\"}]}'"
say '  build/fusor init                             # your providers: README.md has the rest'
