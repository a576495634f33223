# packages.sh - the Debian packages of each purpose, and the set-up that quickstart and check share.
#  Read with ". tool/packages.sh".
packages_build="gcc libc6-dev binutils make libxxhash-dev libcmph-dev libsqlite3-dev \
libcivetweb-dev zlib1g-dev"
packages_quickstart="curl sqlite3"
packages_test="tcl8.6-dev libsqlite3-tcl curl sqlite3 g++ python3 pkgconf dpkg-dev procps"
# Without these some tests are skipped.
packages_wanted="man-db mandoc nodejs openssl python3-dev python3-pip"
# Compilers, checkers and a browser of some hundred MB, and servers that Debian starts when they are
# installed: without them their tests are skipped.
packages_ci="chromium clang cmake codespell debootstrap libclang-rt-dev libdbd-sqlite3-perl \
libnats-dev lintian lmdb-utils mypy nats-server nginx-light node-typescript php-cli php-sqlite3 \
redis-server ruby-sqlite3 systemd zsh"
# Where they cannot be installed the check goes on without them.
packages_proxies="apache2-bin caddy haproxy"
# What the long campaigns of make fulltest build with and run under, beside packages_ci.
packages_slow="gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu libc6-dev-arm64-cross \
libc6-dev-riscv64-cross musl-tools npm python3-lmdb qemu-user spin"
packages_bench="liblmdb-dev libcdb-dev libtkrzw-dev libkyotocabinet-dev libleveldb-dev \
librocksdb-dev redis-server"

# set_up PURPOSE PACKAGE...: packages, configure, make; the details go to a log that is shown when
# something fails.
set_up() {
  sh tool/install-packages "$@" || exit 2
  set_up_log=$(mktemp) || exit 2
  echo "Building..."
  if ./configure >"$set_up_log" 2>&1 && make -j"$(nproc)" >>"$set_up_log" 2>&1; then
    rm -f "$set_up_log"
  else
    tail -n 30 "$set_up_log" >&2
    rm -f "$set_up_log"
    echo "The build failed; its last lines are above." >&2
    exit 1
  fi
}
