# machine.tcl - the library built for another machine, and its tests run there by an emulator.
#
#   forget_flags                 what this run of make says to its compilers is not for others
#   build NAME ARGUMENTS TARGETS
#                                configure and make in $dir/NAME: the lines that say warning or
#                                error
#   packages_of MACHINE RELEASE PACKAGES
#                                these and all that they stand on, of that machine, unpacked in a
#                                folder of their own: nothing of this machine changes.  RELEASE is
#                                Debian's, empty: this machine's.  The folder, or {} when no mirror
#                                has them, which counts as a skip
#   emulate MACHINE ROOT         from now on programs of that machine run here, with ROOT's
#                                libraries
#   by_itself PROGRAM ARGS...    the command that starts one, without those that it starts
#   with_others PROGRAM ARGS...  the command that starts one, which starts others as any program
#                                does
#   can_start_others NAME        whether the kernel allows the next, for the build in $dir/NAME; if
#                                not, that counts as skipped
#   $core_subjects               the files of the core that are worth it
#   passes_there NAME LEAST FILES
#                                a test: these files of the suite pass there, with that many tests
#   core_passes_there NAME       tests: some files that start nothing but themselves
#   one_file_for_both NAME       a test: what one machine wrote the other reads

source [file dirname [info script]]/root.tcl

proc forget_flags {} {
  foreach variable {MAKEFLAGS MFLAGS MAKELEVEL CFLAGS CXXFLAGS CPPFLAGS LDFLAGS} {
    unset -nocomplain ::env($variable)
  }
}

proc build {name arguments targets} {
  file mkdir $::dir/$name
  exec sh -c {cd "$0" && shift && exec "$@" 2>&1} $::dir/$name - $::top/configure -q {*}$arguments
  set said [exec make -s -C $::dir/$name -j2 {*}$targets 2>@1]
  regexp -all -inline -line {^.*(?:warning|error):.*$} $said
}

proc packages_of {machine release packages} {
  set apt $::dir/apt-$machine
  foreach folder {state/lists/partial cache/archives/partial root} {file mkdir $apt/$folder}
  close [open $apt/status w]
  set command [list apt-get -o Dir::State=$apt/state -o Dir::State::status=$apt/status \
    -o Dir::Cache=$apt/cache -o APT::Architecture=$machine -o APT::Architectures=$machine \
    -o APT::Sandbox::User=root -o APT::Install-Recommends=no -o Acquire::Retries=9]
  if {$release ne {}} {
    write_text $apt/sources "deb http://deb.debian.org/debian $release main"
    lappend command -o Dir::Etc::SourceList=$apt/sources -o Dir::Etc::SourceParts=/dev/null
  }
  # An update that fetches nothing ends well, but the packages are unknown after it.
  if {[catch {
    exec {*}$command update >& $apt/log
    exec {*}$command install -y --download-only {*}$packages >>& $apt/log
  }]} {
    set said [exec cat $apt/log]
    if {![mirror_gone $said]} {error "no packages of $machine:\n$said"}
    lacks $machine 0 "no mirror with packages of $machine"
    return {}
  }
  foreach package [glob $apt/cache/archives/*.deb] {exec dpkg -x $package $apt/root}
  if {![file exists $apt/root/lib]} {file link -symbolic $apt/root/lib usr/lib}
  return $apt/root
}

# The emulator keeps words for each page that a program reserves; a store reserves 64 GiB, but takes
# less where there is less.
proc emulate {machine root} {
  set ::machine $machine
  set ::env(QEMU_LD_PREFIX) $root
  set ::env(QEMU_RESERVED_VA) 4G
  set ::env(TCL_LIBRARY) [info library]
  set ::env(MAPH_TEST_EMULATED) yes
  # Its own shell of SQLite comes first, so that it can load what is built for it.
  file mkdir $::dir/programs
  foreach program [glob -nocomplain $root/usr/bin/sqlite3] {
    file link -symbolic $::dir/programs/[file tail $program] $program
  }
  set ::env(PATH) $::dir/programs:$::env(PATH)
}
proc by_itself {program args} {
  list timeout 1800 qemu-$::machine $program {*}$args
}
# The kernel starts the emulator for each program whose first bytes say so: since Linux 6.7 a user
# namespace has a list of its own for that, and the machine's own does not change.
proc with_others {program args} {
  set codes {aarch64 183 riscv64 243}
  set head [binary format a4c4x8ss "\x7fELF" {2 1 1 0} 2 [dict get $codes $::machine]]
  set mask [binary format H* ffffffffffffff00fffffffffffffffffeffffff]
  foreach name {head mask} {
    set $name [regsub -all {..} [binary encode hex [set $name]] {\\x&}]
  }
  list unshare --map-root-user --mount sh -ec {
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    printf %s "$0" >/proc/sys/fs/binfmt_misc/register
    exec "$@"
  } ":maph:M::$head:$mask:[auto_execok qemu-$::machine]:F" $program {*}$args
}
proc can_start_others {name} {
  if {![catch {exec {*}[with_others $::dir/$name/build/maph --version]}]} {return 1}
  lacks "$name, programs that start others" 0 "this kernel starts no emulator (Linux 6.7 does)"
  return 0
}

# The subjects that a machine may differ in: atomic words, pages, the order of bytes, several
# processes, each kind of index.
set core_subjects {
  core_bounds core_changes core_cursor core_destroy core_get core_golden core_golden_frozen
  core_golden_order core_increment core_kinds core_load core_many core_open core_optimize
  core_process core_put core_range core_snapshot core_txn
}
proc passes_there {name least files} {
  do_test "$name, [lindex $files 0] to [lindex $files end]" \
    [list suite_there $name $least $files] passed
}
proc suite_there {name least files} {
  catch {
    exec {*}[with_others $::dir/$name/build/maphtest $::top/test/all.tcl {*}$files] 2>@1
  } said
  puts "  [join [regexp -all -inline -line {^- .*$} $said] "\n  "]"
  verdict_of $said $least
}
proc core_passes_there {name} {
  set program $::dir/$name/build/maphtest
  set ::env(MAPH_TEST_RUNNER) qemu-$::machine
  foreach file {core_get core_put core_many core_cursor core_snapshot core_txn core_golden} {
    do_test $name-$file [list exec {*}[by_itself $program $::top/test/$file.test]] \
      {/@ \d+ 0 \d+ 0$/}
  }
  unset ::env(MAPH_TEST_RUNNER)
}

proc one_file_for_both {name} {
  do_test $name-and-this-machine [list both_use $::dir/$name/build/maph $::dir/$name.maph] \
    {here value there value2 check {}}
}
proc both_use {there store} {
  exec {*}[by_itself $there create $store]
  exec {*}[by_itself $there set $store key value]
  exec $::build/maph set $store other value2
  list here [exec $::build/maph get $store key] \
    there [exec {*}[by_itself $there get $store other]] \
    check [exec {*}[by_itself $there check -q $store]]
}
