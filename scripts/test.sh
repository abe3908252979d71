#!/bin/sh
# Run pytest with the arguments given, then list the lines of src that changed and that no test ran.
# Changed is what differs from $COMPARE: by default from where the branch left origin/main, or, on main
# itself, from the commit before. Only changed files are traced: the rest runs at its full speed.
# pytest's closing line comes again at the very end; the exit status is pytest's.
set -u

bin=.venv/bin
folder=$PWD/.cache/coverage
base=${COMPARE:-$(git merge-base HEAD origin/main 2>/dev/null)}
if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then
    base=HEAD~1
fi
changed=$(git diff --name-only --diff-filter=d "$base" -- 'src/*.py' 2>/dev/null)
if [ -z "$changed" ]; then
    exec $bin/pytest "$@"
fi

rm -rf "$folder"
mkdir -p "$folder"
{
    printf '[run]\nparallel = true\npatch = subprocess\ndata_file = %s/data\n' "$folder"
    printf 'disable_warnings = no-data-collected,module-not-measured\ninclude =\n'
    echo "$changed" | sed "s|^|    $PWD/|"
} >"$folder/config"
coverage() {
    what=$1
    shift
    $bin/coverage "$what" --rcfile="$folder/config" "$@"
}

{
    coverage run -m pytest "$@"
    echo $? >"$folder/status"
} 2>&1 | tee "$folder/log"
# A worker that was killed on purpose may leave half a file, which is passed over.
coverage combine --quiet >/dev/null 2>&1
coverage xml --quiet -o "$folder/coverage.xml" &&
    $bin/diff-cover "$folder/coverage.xml" --compare-branch "$base" \
        --format "markdown:$folder/report.md" --quiet >/dev/null &&
    cat "$folder/report.md"
tail -n 1 "$folder/log"
exit "$(cat "$folder/status")"
