# page_views.tcl - what the page shows, view by view, for the tests that look at all of it.
#
#   page_fill         stores that have something for each view
#   $views            name, path and what is there when it is shown, of each
#   show_view NAME    go there, from nothing

proc page_fill {} {
  http POST /stores/empty
  http POST /stores/[string repeat long-name- 6]
  http POST /stores/s
  set lines {}
  for {set i 0} {$i<120} {incr i} {
    append lines \
        "{\"key\":\"user:$i:[string repeat x\
        [expr {$i*3}]]\",\"value\":{\"name\":\"N$i\",\"n\":$i,\"on\":true}}\n"
  }
  http POST /stores/s/import -body $lines
  http PUT /stores/s/keys/bytes -body [string repeat \xff\x00 300]
  http PUT /stores/s/keys/word -body [string repeat w 5000]
  http POST /stores/s/check?wait=1
}
# Each view: where it is, and when it is there.
set views {
  stores    /#/                          {document.querySelector('tbody tr')}
  keys      /#/stores/s                  {document.querySelectorAll('.list a').length > 50}
  folders   /#/stores/s/by/%3A/user%3A   {document.querySelector('.list .folder a')}
  json      /#/stores/s/keys/user%3A0%3A {document.querySelector('pre')}
  hex       /#/stores/s/keys/bytes       {document.querySelector('pre.hex')}
  text      /#/stores/s/keys/word        {document.querySelector('pre')}
  missing   /#/stores/s/keys/none        {document.querySelector('.pane .empty')}
  no_store  /#/stores/none               {document.querySelector('.broken .empty')}
  no_keys   /#/stores/empty              {document.querySelector('.foot .empty')}
  changes   /#/stores/s/changes          {document.querySelector('.empty, tbody tr')}
  manage    /#/stores/s/manage           {document.querySelector('.job')}
  jobs      /#/jobs                      {document.querySelector('.job')}
  activity  /#/activity                  {document.querySelector('.plot')}
  long      {}                           {document.querySelector('.figures dd')}
  edit      /#/stores/s/keys/word        {document.querySelector('pre')}
  dialog    /#/                          {document.querySelector('tbody tr')}
}
proc show_view {name} {
  set place [dict get [concat {*}[lmap {n p w} $::views {list $n [list $p $w]}]] $name]
  lassign $place path ready
  if {$name eq "long"} {set path /#/stores/[string repeat long-name- 6]/manage}
  browser_open $path
  js_wait "$ready !== null && $ready !== false"
  if {$name eq "edit"} {browser_press Edit; js_wait {document.querySelector('textarea') !== null}}
  if {$name eq "dialog"} {
    browser_press {New store};
    js_wait {document.querySelector('dialog') !== null}
  }
}
