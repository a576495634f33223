# root.tcl - clean roots of Debian, in which a script runs as on a machine of its own.
#
#   can_make_roots NAME          whether this machine can; if not, NAME counts as skipped
#   this_release                 the name of this machine's own release
#   clean_root RELEASE ?NAME?    a new root with the packages that Debian cannot be without: its
#                                folder $dir/NAME, or {} when no mirror has that release, which
#                                counts as a skip
#   lay_out_sources ROOT         the tree of make dist, in its folder /maph
#   in_root ROOT SCRIPT ?-network no?
#                                what a script for sh said there, as root; it fails where the
#                                script does.  Its processes, mounts and names are its own and end
#                                with it.  It reaches apt's mirrors through this machine's
#                                network; without it, itself alone.
#   root_command ROOT SCRIPT ?-network no? ?-volume {FOLDER PATH rw|ro}?
#                                the command that does so; FOLDER of this machine is seen at PATH
#   whole_check RELEASE          tests that tool/check passes in a clean root
#
# A root is kept as an archive, so that the files of one run of the suite make each release once.

proc can_make_roots {name} {
  foreach need {plain root mount debootstrap} {
    if {![requires $need $name]} {return 0}
  }
  return 1
}
proc this_release {} {
  regexp -line {^VERSION_CODENAME=(\w+)$} [exec cat /etc/os-release] -> name
  return $name
}
# Where this machine's own apt fetches from.
proc debian_mirror {} {
  set places [exec apt-get indextargets --format {$(REPO_URI)} "Codename: [this_release]" \
      "Component: main"]
  lindex [split $places \n] 0
}

proc clean_root {release {name {}}} {
  if {$name eq {}} {set name $release}
  set shared [expr {[info exists ::env(MAPH_TEST_SHARED)] ? $::env(MAPH_TEST_SHARED) : $::dir}]
  set archive $shared/debian-$release.tar
  if {![file exists $archive] && ![make_archive $release $archive]} {
    lacks "Debian $release" 0 "no mirror"
    return {}
  }
  set root $::dir/$name
  file mkdir $root
  exec tar -xpf $archive -C $root
  exec cp -L /etc/resolv.conf $root/etc/resolv.conf
  return $root
}
# Of two files that make one at the same time, each gives a whole one the name.
proc make_archive {release archive} {
  set made $::dir/made
  if {[catch {
    exec debootstrap --variant=minbase $release $made [debian_mirror] >& $::dir/debootstrap.log
  }]} {
    file delete -force $made
    return 0
  }
  file delete {*}[glob -nocomplain $made/var/cache/apt/archives/*.deb]
  # A mirror that does not answer once is asked again.
  set f [open $made/etc/apt/apt.conf.d/80-retries w]
  puts $f {Acquire::Retries "9";}
  close $f
  exec tar -cf $::dir/made.tar -C $made .
  file rename -force $::dir/made.tar $archive
  file delete -force $made
  return 1
}

proc lay_out_sources {root} {
  exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C $::top dist OUT=$::dir
  exec tar -xzf $::dir/maph-[maph version].tar.gz -C $root
  file rename $root/maph-[maph version] $root/maph
}

# The root is made a mount and takes the place of this machine's, of which nothing is seen then.  A
# network of its own begins with a loopback that is down.
proc root_command {root script args} {
  array set option {-network yes -volume {}}
  array set option $args
  set alone [expr {$option(-network) ? {} : "--net"}]
  list unshare --mount --pid --ipc --uts {*}$alone --fork --kill-child sh -ec {
    if [ "$2" != yes ]; then
      python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))'
    fi
    mount --bind "$0" "$0"
    cd "$0"
    mount -t proc proc proc
    mkdir -p dev/pts dev/shm
    mount -t devpts devpts dev/pts
    mount -t tmpfs tmpfs dev/shm
    [ -z "$3" ] || mount -o "bind,$5" "$3" "./$4"
    pivot_root . mnt
    umount -l /mnt
    cd /
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
      DEBIAN_FRONTEND=noninteractive sh -ec "$1"
  } $root $script $option(-network) {*}$option(-volume)
}
proc in_root {root script args} {exec {*}[root_command $root $script {*}$args] 2>@1}

# tool/check of a release in a root of its own: all is installed, then the suite runs without a
# network, so that only what its packages hold can help it.
proc whole_check {release} {
  set root [clean_root $release]
  if {$root eq {}} return
  lay_out_sources $root
  in_root $root {
    cd /maph
    . tool/packages.sh
    sh tool/install-packages 'run the tests' $packages_build $packages_test $packages_wanted \
      $packages_ci -- $packages_proxies
  }
  set said [in_root $root {cd /maph && CI=yes sh tool/check 2>&1 || true} -network no]
  # What failed, and the last line; a file that ended early says "failed" beside its name.
  set told [regexp -all -inline -line \
      {^(?:!.*|    (?:expected|got):.*|\S+ +.*failed.*|\d+ passed.*)$} $said]
  do_test $release-check [list set {} $told] {/^\{\d+ passed, 0 failed(, \d+ skipped)?\}$/}
  # A skip that a package could help fails the check: these the machine is the reason for.
  puts "  [join [regexp -all -inline -line {^- .*$} $said] "\n  "]"
}
