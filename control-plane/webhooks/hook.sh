#!/bin/sh
# A post-receive hook that tells Skein what was pushed to a bare repository. In the repository:
#
#   cp hook.sh hooks/post-receive && chmod +x hooks/post-receive
#   git config skein.webhook https://skein.example.com/webhooks/…
#   git config skein.secret THE-APPLICATION'S-WEBHOOK-SECRET        (at most 64 characters)
#
# It needs git, curl and openssl. What it does it does behind the push's back, so a push neither waits for it nor fails
# because of it; what went wrong stands in skein.log, which is empty when nothing did.

url=$(git config skein.webhook) && secret=$(git config skein.secret) || {
	echo "skein: not told of this push: set skein.webhook and skein.secret with git config, in this repository" >&2
	exit 0
}
if [ ${#secret} -gt 64 ]; then
	echo "skein: not told of this push: skein.secret is longer than 64 characters" >&2
	exit 0
fi
updates=$(cat)
delivery=$(date +%s)-$$
# Where several accounts push, the log is whose push came first.
log=skein.log
(: >>"$log") 2>/dev/null || log=/dev/null

exists() {
	case $1 in *[!0]*) ;; *) false ;; esac
}

# What Git said, and more of it, in the lines that control-plane/webhooks/generic.ts reads.
tell() {
	echo "delivery $delivery"
	printf '%s\n' "$updates" | while read -r old new ref; do
		exists "$new" && new=$(git rev-parse -q --verify "$new^{commit}" || echo "$new")
		echo "$old $new $ref"
		exists "$new" || continue
		git log -1 --format='author %an <%ae>' "$new"
		git log -1 --format=%B "$new" | sed 's/^/message /'
		exists "$old" || continue
		git merge-base --is-ancestor "$old" "$new" || echo forced
		paths=$(git -c core.quotePath=false diff-tree -r --no-renames --name-only "$old" "$new" | head -n 3001)
		[ "$(printf '%s\n' "$paths" | wc -l)" -gt 3000 ] && continue
		[ -z "$paths" ] || printf '%s\n' "$paths" | sed 's/^/path /'
		echo whole
	done
}

# HMAC-SHA256 of what comes in, by its definition: given to openssl, the secret would stand in the list of processes.
sign() {
	inner= outer= i=0
	key=$(printf %s "$secret" | od -An -v -tx1 | tr -d ' \n')
	while [ $i -lt 64 ]; do
		byte=0x${key%"${key#??}"} key=${key#??} i=$((i + 1))
		[ "$byte" != 0x ] || byte=0
		a=$((byte ^ 0x36)) b=$((byte ^ 0x5c))
		inner="$inner\\0$((a / 64))$((a / 8 % 8))$((a % 8))"
		outer="$outer\\0$((b / 64))$((b / 8 % 8))$((b % 8))"
	done
	{
		printf %b "$outer"
		{ printf %b "$inner" && cat; } | openssl dgst -sha256 -binary
	} | openssl dgst -sha256 -r | cut -d ' ' -f 1
}

send() {
	body=$(tell)
	printf %s "$body" | curl -sS -f -o /dev/null --max-time 20 --retry 6 --retry-connrefused \
		-H "Content-Type: text/plain" -H "X-Skein-Delivery: $delivery" \
		-H "X-Skein-Signature-256: sha256=$(printf %s "$body" | sign)" \
		--data-binary @- "$url"
}

# The hang-up at the end of the pusher's session is not meant for it, and Git waits for whoever holds its output open.
(
	trap '' HUP
	send
) </dev/null >"$log" 2>&1 &
