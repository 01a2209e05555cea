# curl, as anybody writes it. The first word of an answer is its status.
refund() {
  curl -s -m 30 -w '\n%{http_code}' https://api.stripe.com/v1/refunds -u sk_dummy_the_agent_holds_nothing: \
    -d "charge=$CHARGE" -d "amount=$1" -d "metadata[note]=$2"
}
execute() { curl -s -m 30 -w '\n%{http_code}' -X POST "http://actpass.internal/v1/approvals/$1/execute"; }
# Prints the step; the answer's body stays in $body.
say() {
  body=$(printf %s "$2" | head -n -1 | tr -d '\n'); status=$(printf %s "$2" | tail -n 1)
  printf '{"step":"%s","status":%s,"answer":%s}\n' "$1" "$status" "$body"
}
say small "$(refund 12000 small)"
say huge "$(refund 1500000 huge)"
say "repeat asked" "$(refund 250000 repeat)"
read -r _
say repeat "$(refund 250000 repeat)"
say "repeat again" "$(refund 250000 repeat)"
say "execute asked" "$(refund 250000 execute)"
approval=$(printf %s "$body" | grep -o 'apr_[A-Za-z0-9]*' | head -n 1)
read -r _
say execute "$(execute "$approval")"
say "execute again" "$(execute "$approval")"
