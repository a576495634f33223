# deb.tcl - the Debian packages of this tree, for the tests.
#
#   make_packages FOLDER      builds them there: their paths
#   package_files DEB         the files in one, without their folders
#   field DEB NAME            a field of its control file

proc make_packages {folder} {
  file mkdir $folder
  set said [exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C $::top deb OUT=$folder 2>@1]
  lsort [glob $folder/*.deb]
}
proc package_files {deb} {
  lsort [lmap line [split [exec dpkg-deb --fsys-tarfile $deb | tar -t] \n] {
    if {[string match */ $line]} continue
    string range $line 2 end
  }]
}
proc field {deb name} {exec dpkg-deb --field $deb $name}
