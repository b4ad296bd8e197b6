# What Tidegate needs on a machine, and how to get it. Sourced by the other scripts.

readonly MINIMUM_RUST=1.88

has() { command -v "$1" >/dev/null 2>&1; }

require_rust() {
    local version=""
    if has cargo && has rustc; then
        version=$(rustc --version | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    fi
    if [ -z "$version" ] || ! printf '%s\n%s\n' "$MINIMUM_RUST" "$version" | sort -V -C; then
        cat >&2 <<EOF
Tidegate needs Rust $MINIMUM_RUST or newer (found: ${version:-none}): install it with rustup
(https://rustup.rs), or on Debian: apt-get install rustc-web cargo-web
EOF
        exit 1
    fi
}

# require COMMAND PACKAGE: collects the packages of commands that are not there.
missing_packages=()
require() { has "$1" || missing_packages+=("$2"); }

# require_file FILE PACKAGE: for packages without a program.
require_file() { [ -e "$1" ] || missing_packages+=("$2"); }

install_missing() {
    [ ${#missing_packages[@]} -gt 0 ] || return 0
    local packages
    packages=$(printf '%s\n' "${missing_packages[@]}" | sort -u)
    if [ "${TIDEGATE_NO_INSTALL-}" = 1 ] || ! has apt-get; then
        echo "missing, and not installed here:" $packages >&2
        exit 1
    fi
    local root=()
    if [ "$(id -u)" != 0 ]; then
        has sudo || {
            echo "missing, and neither root nor sudo to install it:" $packages >&2
            exit 1
        }
        root=(sudo)
    fi
    printf '\n=== installing: %s\n' "$(echo $packages)"
    "${root[@]}" apt-get update -qq
    # shellcheck disable=SC2086 # one word per package
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $packages
}

# What building takes beside Rust: SQLite, the cryptography and zlib-ng are C, the last built by
# cmake.
require_compilers() {
    require cc gcc
    # gcc only recommends the headers of the C library.
    [ -e /usr/include/stdio.h ] || missing_packages+=(libc6-dev)
    require make make
    require cmake cmake
}
