# release.tcl - what README.md's two commands do in a clean root of a release of Debian (root.tcl).
#
#   first_command RELEASE        tests of tool/quickstart there, and of what it built
#   whole_check RELEASE          tests that tool/check passes there

source [file dirname [info script]]/root.tcl

proc first_command {release} {
  set root [clean_root $release]
  if {$root eq {}} return
  lay_out_sources $root
  # What another release's compiler builds is what the suite runs there: optimized as by default,
  # and no warning is let through.  This release's compiler is the one of the whole suite.
  set other [expr {$release ne [this_release]}]
  set flags [expr {$other ? "-O2 -Werror" : "-O0"}]
  if {!$other} {
    # The other one writes the whole index of packages; this one, what is installed.
    in_root $root {
      . /maph/tool/packages.sh
      sh /maph/tool/install-packages 'begin' $packages_build $packages_quickstart
      rm -r /var/lib/apt/lists/*
    }
  }
  do_test $release-quickstart [list quickstart_in $root $flags] {found_all 1 rates 6}
  if {!$other} return
  do_test $release-shell [list shell_in $root] "v\nv\nok"
  do_test $release-no-warnings [list warnings_in $root $flags] {}
  # What looks into the compiler's work, the C library, SQLite, civetweb and NATS.  How the engine
  # orders, rewrites, fills and recovers is the same on each release, once these pass.  Files with
  # a suffix take most of the time, and what they look for does not depend on the release.
  set files [quick_files {core_[bcdgiklm]*} core_open core_optimize core_options core_outgrow \
      core_numbers sql* http_keys replica_anchor replica_follow replica_keys replica_readers]
  do_test $release-suites [list suite_in $root $files 900] passed
}
proc quickstart_in {root flags} {
  set said [in_root $root "cd /maph && CFLAGS='$flags' sh tool/quickstart"]
  list found_all [regexp {found (\d+) of \1 keys} $said] rates [regexp -all {\d a second} $said]
}
# The sqlite3 shell as it is: on Debian 13 defensive, and with no trust in stored schemas.
proc shell_in {root} {
  in_root $root {
    cd /tmp
    printf '%s\n' '.load /maph/maph' "CREATE VIRTUAL TABLE t USING maph('t.maph');" \
      "INSERT INTO t VALUES('k', 'v');" | sqlite3 shop.db
    printf '%s\n' '.load /maph/maph' 'SELECT value FROM t;' \
      "SELECT maph_get('t.maph', 'k');" 'PRAGMA integrity_check;' | sqlite3 shop.db
  }
}
# Other releases of the compiler, of Tcl, civetweb and NATS; without the last the tests of replicas
# are skipped.  What quickstart built is not built again.
proc warnings_in {root flags} {
  set said [in_root $root "
    cd /maph && . tool/packages.sh
    sh tool/install-packages 'run the tests' \$packages_build \$packages_quickstart \
        \$packages_test >/log 2>&1
    sh tool/install-packages 'follow a bucket' nats-server libnats-dev >>/log 2>&1 || true
    ./configure CFLAGS='$flags' >>/log 2>&1
    make -s -j2 all build/maphtest build/maphsql build/fake-nats 2>&1
  "]
  regexp -all -inline -line {^.*(?:(?:warning|error):| build/core/os/error\.o).*$} $said
}
proc suite_in {root files least} {
  verdict_of [in_root $root "cd /maph && build/maphtest test/all.tcl $files 2>&1 || true"] $least
}
# Names of the suite's files that have no suffix.
proc quick_files {args} {
  set names {}
  foreach pattern $args {
    foreach file [lsort [glob -tails -directory $::top/test $pattern.test]] {
      if {![regexp {_(fault|crash|power|fuzz|thread|slow)\.test$} $file]} {
        lappend names [file rootname $file]
      }
    }
  }
  return $names
}
# Of the suite's output: "passed" when LEAST tests or more have, and none failed, else what it says
# of the failures.
proc verdict_of {output least} {
  if {[regexp -line {^(\d+) passed, 0 failed} $output -> passed] && $passed>=$least} {
    return passed
  }
  regexp -all -inline -line {^(?:!.*|    (?:expected|got):.*|\S+ +.*failed.*|\d+ passed.*)$} $output
}

# tool/check of a release in a root of its own: all is installed, then the suite runs without a
# network, so that only what its packages hold can help it.
proc whole_check {release} {
  set root [clean_root $release]
  if {$root eq {}} return
  lay_out_sources $root
  set packages {$packages_build $packages_test $packages_wanted $packages_ci}
  if {![fetch_packages $root "\$(. /maph/tool/packages.sh; echo $packages)"]} return
  in_root $root {
    cd /maph
    . tool/packages.sh
    sh tool/install-packages 'run the tests' $packages_build $packages_test $packages_wanted \
      $packages_ci -- $packages_proxies
  }
  in_root $root {cd /maph && CI=yes sh tool/check >/check.log 2>&1 || true} -network no
  set said [exec cat $root/check.log]
  do_test $release-check [list verdict_of $said 1000] passed
  # A skip that a package could help fails the check: these the machine is the reason for.
  puts "  [join [regexp -all -inline -line {^- .*$} $said] "\n  "]"
}
