/*
** chart.c - the medians as one SVG picture: small bar charts, each of one figure of one set, the
** peers always in the same order.  A bar's length is the figure's part of the largest in its chart;
** a server, whose latencies would leave nothing to see of the others', does not count for that, and
** its bar may end in a mark that says so.
*/
#include "bench.h"

#include <math.h>

enum {
  COLUMNS = 3,
  PANEL = 330,
  NAMES = 84,
  BARS = 160,
  BAR = 13,
  STEP = 17,
  HEAD = 30,
  TOP = 70,
  MARGIN = 20
};

typedef struct panel {
  const char *set, *title;
  metric metric;
} panel;

static const panel panels[] = {
  { "1M", "get, tight loop: gets/s", GET },
  { "1M", "get, median latency (shorter is better)", GET_P50 },
  { "1M", "get, each after the last (shorter is better)", DEPENDENT },
  { "1M", "miss: gets/s", MISS },
  { "1M", "get_many: keys/s", MANY },
  { "1M", "scan: entries/s", SCAN },
  { "1M", "bulk load: puts/s", BULK_OFF },
  { "1M", "one put a transaction, no flush: puts/s", PUT },
  { "1M", "one put a transaction, on disk: puts/s", DURABLE_PUT },
  { "1M", "YCSB A, half updates: operations/s", YCSB_A },
  { "1M", "YCSB B, 5 % updates: operations/s", YCSB_B },
  { "1M", "YCSB E, short scans: operations/s", YCSB_E },
  { "100k", "100k keys: gets/s", GET },
  { "mixed", "values of 20-2000 bytes: gets/s", GET },
  { "10M", "10M keys: gets/s", GET },
};

enum { PANELS = sizeof panels / sizeof *panels };

/* How many peers have the figure, and the largest but for servers. */
static int bars_of(const results *results, metric m, double *largest) {
  int bars = 0;
  *largest = 0;
  for (int p = 0; results && p < results->peers; p++) {
    double median = results_median(results, m, p);
    bars += !isnan(median);
    if (median > *largest && !(results->peer[p]->traits & SERVER)) *largest = median;
  }
  return *largest > 0 ? bars : 0;
}

static const char *colour_of(const peer *peer) {
  if (peer->variant_of || strcmp(peer->name, "maph") == 0) return "#c2410c";
  return peer->traits & IN_MEMORY ? "#9ca3af" : "#475569";
}

static void draw_bar(const peer *peer, double median, double largest, unit u, int x, int y,
                     FILE *out) {
  char text[32];
  double length = fmax(1, BARS * fmin(1, median / largest));
  fprintf(out, "<text x='%d' y='%d' text-anchor='end'>%s</text>", x + NAMES - 6, y + 11,
          peer->name);
  fprintf(out, "<rect x='%d' y='%d' width='%.1f' height='%d' fill='%s'/>", x + NAMES, y, length,
          BAR, colour_of(peer));
  fprintf(out, "<text x='%.1f' y='%d'>%s%s</text>\n", x + NAMES + length + 5, y + 11,
          median > largest ? "&#8230; " : "", format_value(median, u, text));
}

static void draw_panel(const results *results, const panel *panel, double largest, int x, int y,
                       FILE *out) {
  fprintf(out, "<text x='%d' y='%d' font-weight='bold'>%s</text>\n", x, y + 14, panel->title);
  y += HEAD - 8;
  for (int p = 0; p < results->peers; p++) {
    double median = results_median(results, panel->metric, p);
    if (isnan(median)) continue;
    draw_bar(results->peer[p], median, largest, metric_about(panel->metric)->unit, x, y, out);
    y += STEP;
  }
}

/* The panels that have figures, from left to right and from top to bottom; without `out` only the
** height of it all is found. */
static int draw_panels(const set_results *sets, int n, FILE *out) {
  int y = TOP, row_height = 0, column = 0;
  for (int i = 0; i < PANELS; i++) {
    const results *results = results_of_set(sets, n, panels[i].set);
    double largest;
    int bars = bars_of(results, panels[i].metric, &largest), height = HEAD + bars * STEP + 8;
    if (bars == 0) continue;
    if (column == COLUMNS) {
      y += row_height;
      row_height = column = 0;
    }
    if (out) draw_panel(results, &panels[i], largest, MARGIN + column * PANEL, y, out);
    if (height > row_height) row_height = height;
    column++;
  }
  return y + row_height;
}

void chart_write(const set_results *sets, int n, FILE *out) {
  int width = 2 * MARGIN + COLUMNS * PANEL, height = draw_panels(sets, n, NULL) + 10;
  fprintf(out,
          "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d' "
          "font-family='sans-serif' font-size='11' "
          "fill='#111827'>\n<rect width='%d' height='%d' fill='#ffffff'/>\n",
          width, height, width, height, width, height);
  fprintf(out,
          "<text x='%d' y='28' font-size='16' font-weight='bold'>maph and other stores: medians of "
          "make bench</text>\n",
          MARGIN);
  fprintf(out, "<text x='%d' y='48'>%s; where nothing else is said ", MARGIN, machine_line());
  results_say_set(sets[0].results, out);
  fprintf(out, ", warm cache</text>\n");
  draw_panels(sets, n, out);
  fprintf(out, "</svg>\n");
}
