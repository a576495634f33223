# npm.tcl - packages that come from npm.
#
#   npm_brings NAME FOLDER PACKAGE ARGS...
#                                whether these are installed in FOLDER now, by npm's ARGS.  A
#                                registry that does not answer, or lacks one, makes NAME count as
#                                skipped; whatever else goes wrong is an error
#   registry_lacks SAID          whether that is what npm said

proc npm_brings {name folder package args} {
  if {[catch {
    exec timeout 300 npm install --loglevel=error --no-audit --no-fund --prefix $folder {*}$args \
        {*}$package 2>@1
  } said options]} {
    # 124: it was ended in the midst of waiting.
    if {[lindex [dict get $options -errorcode] 2] ne 124 && ![registry_lacks $said]} {
      return -options $options $said
    }
    lacks $name 0 "npm does not bring it: [lindex [split $said \n] 0]"
    return 0
  }
  return 1
}
proc registry_lacks {said} {
  regexp -line -expanded {^npm[ ](?:error|ERR!)[ ]code[ ](?:E\d{3}|ETARGET|ENOTFOUND|EAI_AGAIN
    |ECONN\w+|ENET\w+|EHOST\w+|E\w*TIMEDOUT|ERR_SOCKET_TIMEOUT|\w*CERT\w*)$} $said
}
