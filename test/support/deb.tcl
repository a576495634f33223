# deb.tcl - the Debian packages of this tree, for the tests.
#
#   make_packages FOLDER      puts them there: their paths
#   older_packages DEBS FOLDER VERSION    the same ones as another version: their paths there
#   package_files DEB         the files in one, without their folders
#   field DEB NAME            a field of its control file

# What is packed is stripped: of debugging notes the least will do, which name folders as all do.
set env(DEB_CFLAGS_APPEND) -g1

proc make_packages {folder} {
  set packages [made_once packages {
    file mkdir $made
    exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C $::top deb OUT=$made 2>@1
  }]
  file mkdir $folder
  file copy {*}[glob $packages/*.deb] $folder
  lsort [glob $folder/*.deb]
}
proc older_packages {debs folder version} {
  file mkdir $folder
  foreach deb $debs {
    exec dpkg-deb --raw-extract $deb $folder/tree
    exec sed -i "s/\\b[string map {. \\.} [maph version]]\\b/$version/g" $folder/tree/DEBIAN/control
    # Something that the next version no longer has.
    set f [open $folder/tree/usr/share/doc/[field $deb Package]/maph-of-$version w]
    close $f
    exec dpkg-deb --root-owner-group --build $folder/tree $folder
    file delete -force $folder/tree
  }
  lsort [glob $folder/*.deb]
}
proc package_files {deb} {
  lsort [lmap line [split [exec dpkg-deb --fsys-tarfile $deb | tar -t] \n] {
    if {[string match */ $line]} continue
    string range $line 2 end
  }]
}
proc field {deb name} {exec dpkg-deb --field $deb $name}
