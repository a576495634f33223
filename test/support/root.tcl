# root.tcl - clean roots of Debian, in which a script runs as on a machine of its own.
#
#   can_make_roots NAME          whether this machine can; if not, NAME counts as skipped
#   this_release                 the name of this machine's own release
#   clean_root RELEASE ?NAME?    a new root with the packages that Debian cannot be without: its
#                                folder $dir/NAME, or {} when no mirror has that release or this
#                                machine lets no root be made, which counts as a skip.  Whatever
#                                else goes wrong is an error.
#   lay_out_sources ROOT         the tree of make dist, in its folder /maph
#   fetch_packages ROOT WORDS    lays up packages (WORDS of sh), so that their installation needs no
#                                mirror; 0 where the mirror has gone, which counts as a skip
#   mirror_gone SAID             whether that is what apt-get said
#   in_root ROOT SCRIPT ?-network no?
#                                what a script for sh said there, as root; it fails where the
#                                script does.  Its processes, mounts and names are its own and end
#                                with it.  It reaches apt's mirrors through this machine's
#                                network; without it, itself alone.
#   root_command ROOT SCRIPT ?-network no? ?-volume {FOLDER PATH rw|ro}?
#                                the command that does so; FOLDER of this machine is seen at PATH
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
  try {
    set archive [made_once debian-$release.tar {make_archive $release $made}]
  } trap LACKS reason {
    lacks "Debian $release" 0 $reason
    return {}
  }
  set root $::dir/$name
  file mkdir $root
  exec tar -xpf $archive -C $root
  exec cp -L /etc/resolv.conf $root/etc/resolv.conf
  # What is installed here need not outlive a loss of power.
  write_text $root/etc/dpkg/dpkg.cfg.d/90quick force-unsafe-io
  return $root
}
proc write_text {file text} {
  set f [open $file w]
  puts $f $text
  close $f
}
# What a failed debootstrap says that is the machine's, or its network's: the reason for a skip.
proc machine_lacks {said} {
  foreach {pattern reason} {
    {^E: (?:Failed getting release |Couldn't download )} {no mirror}
    {^E: Cannot install into target .* mounted with noexec or nodev} {no place for devices}
    {^E: Unable to execute target architecture} {no root can be entered}
    {^(?:mknod|mount|chroot|unshare): .*(?:Operation not permitted|[Pp]ermission denied)}
      {debootstrap may not do its work here}
  } {
    if {[regexp -line $pattern $said]} {return $reason}
  }
}
# debootstrap fetches by wget, which by itself gives up at the first refusal and waits for a silent
# mirror for hours.
proc make_archive {release archive} {
  set made $::dir/made
  write_text $::dir/wgetrc "timeout = 20\ntries = 4\nretry_connrefused = on
retry_on_host_error = on\nretry_on_http_error = 429,500,502,503,504"
  if {[catch {
    exec env WGETRC=$::dir/wgetrc debootstrap --variant=minbase $release $made [debian_mirror] \
        >& $::dir/debootstrap.log
  }]} {
    set said [exec cat $::dir/debootstrap.log {*}[glob -nocomplain $made/debootstrap/*.log]]
    file delete -force $made
    set reason [machine_lacks $said]
    if {$reason ne {}} {throw LACKS $reason}
    error "debootstrap of $release failed:\n[join [lrange [split $said \n] end-20 end] \n]"
  }
  file delete {*}[glob -nocomplain $made/var/cache/apt/archives/*.deb]
  # A mirror that does not answer once is asked again.
  write_text $made/etc/apt/apt.conf.d/80-retries {Acquire::Retries "9";}
  exec tar -cf $archive -C $made .
  file delete -force $made
}

proc lay_out_sources {root} {
  exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C $::top dist OUT=$::dir
  exec tar -xzf $::dir/maph-[maph version].tar.gz -C $root
  file rename $root/maph-[maph version] $root/maph
}

proc fetch_packages {root words} {
  if {[catch {
    in_root $root "apt-get update 2>&1
      apt-get install -y --no-install-recommends --download-only $words 2>&1"
  } said options]} {
    if {![mirror_gone $said]} {return -options $options $said}
    lacks [file tail $root] 0 "its mirror has gone"
    return 0
  }
  return 1
}
proc mirror_gone {said} {
  regexp {Failed to fetch|Temporary failure|Could not (?:connect|resolve)} $said
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
