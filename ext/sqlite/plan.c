/*
** plan.c - xBestIndex: which of a query's constraints are used, and how.
**
** PLANS.  The table `plans` below is the whole choice: the first row whose needs are met is taken.
**     KEY          one get                          key = x, key IS x
**     KEYS         one get for each key             key IN (...), key = x OR key = y
**     RANGE        by the order of keys             key >= x, > x, < y, <= y, BETWEEN, GLOB 'x*'
**     NOCASE       the same                         the same COLLATE NOCASE, LIKE 'x%'
**     SCAN         all rows                         anything else
**     NOTHING      refused                          a function without its file
** LIMIT and OFFSET go with KEY, KEYS and SCAN, if nothing else is asked of the rows.
**
** The plan is idxNum.  idxStr names the arguments that xFilter gets, a letter each, in order
** (TERM_* in sql.h), and whether rows come by key, upwards '+' or downwards '-'.
**
** EXACT OR NOT.  A key is its bytes, TEXT or BLOB.  KEY answers by bytes, and where the statement
** spells the key out as TEXT or BLOB it tells SQLite not to look again (omit).  Any other key may
** turn out a number, which may equal several keys (numbers.c): SQLite looks again then.  So it does
** for KEYS.  RANGE and NOCASE only keep rows from being read that cannot be wanted (range.c).  GLOB
** 'user:*' arrives here as a RANGE, LIKE 'user:%' as a NOCASE.  LIMIT is never taken out of
** SQLite's hands either: in a compound SELECT it is given the registers of the whole, so that a
** table that skipped OFFSET rows itself would skip too few or too many.  We only stop after
** LIMIT+OFFSET rows.  A constraint with another collation is not for us.
**
** ORDER BY.  SQLite need not sort where the first term is the key: no two rows have the same, so
** that no other term matters.  RANGE, NOCASE and SCAN read in its order both ways.  min(key) and
** max(key) ask for that order too, and take one row.  SQLite asks for GROUP BY in the same way,
** and then may take the order for that of an ORDER BY: so rows are not only together there, but in
** order.  DISTINCT it asks for with the key among the columns: each row is distinct.
*/
#include "sql.h"

/* What the constraints of a query have for us. */
enum { EQUAL = 1, LIST = 2, LOWER = 4, UPPER = 8, NO_CASE = 16 };

static const struct plan {
  int number, needs;
  int omit;   /* SQLite need not look at the rows again */
  int unique; /* at most one row */
  /* told to the planner: rows + rows_of_all * records in the store */
  double rows, rows_of_all;
  double cost, cost_of_row; /* of each that is read */
} plans[] = {
  /*             needs                     omit unique   rows  of all     cost  of row */
  { PLAN_KEY, EQUAL, 1, 1, 1, 0, 5, 0 },
  { PLAN_KEYS, LIST, 0, 0, 10, 0, 9, 0 }, /* how long the list is, nobody tells */
  { PLAN_NOCASE, LOWER | UPPER | NO_CASE, 0, 0, 1, 1 / 16.0, 20, 3 },
  { PLAN_NOCASE, LOWER | NO_CASE, 0, 0, 1, 1 / 4.0, 20, 3 },
  { PLAN_NOCASE, UPPER | NO_CASE, 0, 0, 1, 1 / 4.0, 20, 3 },
  { PLAN_RANGE, LOWER | UPPER, 0, 0, 1, 1 / 16.0, 15, 3 },
  { PLAN_RANGE, LOWER, 0, 0, 1, 1 / 4.0, 15, 3 },
  { PLAN_RANGE, UPPER, 0, 0, 1, 1 / 4.0, 15, 3 },
  { PLAN_SCAN, 0, 0, 0, 1, 1, 10, 2 },
};

typedef struct choice {
  int equal, lower, upper, file; /* index of the constraint used, or -1 */
  int is_literal;                /* equal: to TEXT or BLOB that the statement spells out */
  int no_case;                   /* lower and upper compare with NOCASE */
  int order;                     /* ORDER_*: rows that come so need no sorting; or 0 */
  int limit, offset;
  int others; /* constraints that none of KEY and KEYS answers */
  /* there is a file, though perhaps not usable in this order of tables */
  int file_asked;
} choice;

static const struct term {
  int op;
  unsigned char letter;
} terms[] = {
  { SQLITE_INDEX_CONSTRAINT_EQ, TERM_EQUAL }, { SQLITE_INDEX_CONSTRAINT_IS, TERM_EQUAL },
  { SQLITE_INDEX_CONSTRAINT_GT, TERM_ABOVE }, { SQLITE_INDEX_CONSTRAINT_GE, TERM_FROM },
  { SQLITE_INDEX_CONSTRAINT_LT, TERM_BELOW }, { SQLITE_INDEX_CONSTRAINT_LE, TERM_UPTO },
};

static int letter_of(int op) {
  size_t i;
  for (i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
    if (terms[i].op == op) return terms[i].letter;
  }
  return 0;
}

static int has_collation(sqlite3_index_info *info, int i, const char *name) {
  const char *collation = sqlite3_vtab_collation(info, i);
  return sqlite3_stricmp(collation ? collation : "BINARY", name) == 0;
}

/* A plain key=x is better than IN; of two alike the first. */
static void choose_equal(sqlite3_index_info *info, int i, choice *choice) {
  if (choice->equal < 0
      || (sqlite3_vtab_in(info, choice->equal, -1) && !sqlite3_vtab_in(info, i, -1)))
    choice->equal = i;
}

/* The first bound decides about the collation of both. */
static void choose_bound(sqlite3_index_info *info, int i, int *bound, choice *choice) {
  int no_case = has_collation(info, i, "NOCASE");
  if (*bound >= 0 || (!no_case && !has_collation(info, i, "BINARY"))) return;
  if ((choice->lower >= 0 || choice->upper >= 0) && choice->no_case != no_case) return;
  *bound = i;
  choice->no_case = no_case;
}

static void choose_key_term(sqlite3_index_info *info, int i, choice *choice) {
  switch (letter_of(info->aConstraint[i].op)) {
    case TERM_EQUAL:
      if (has_collation(info, i, "BINARY")) choose_equal(info, i, choice);
      break;
    case TERM_ABOVE:
    case TERM_FROM: choose_bound(info, i, &choice->lower, choice); break;
    case TERM_BELOW:
    case TERM_UPTO: choose_bound(info, i, &choice->upper, choice); break;
    default: break;
  }
}

/* What the statement spells out there, or NULL. */
static sqlite3_value *literal(sqlite3_index_info *info, int i) {
  sqlite3_value *value = NULL;
  return sqlite3_vtab_rhs_value(info, i, &value) == SQLITE_OK ? value : NULL;
}

/* A number may equal several keys, by an affinity that SQLite alone knows (numbers.c). */
static int is_literal(sqlite3_index_info *info, int i) {
  sqlite3_value *value = literal(info, i);
  int type = value ? sqlite3_value_type(value) : SQLITE_NULL;
  return type == SQLITE_TEXT || type == SQLITE_BLOB;
}

static int is_key(const sql_table *table, int place) {
  int column = table_column(table, place);
  return column == COLUMN_KEY || (column >= COLUMN_ROWID && column <= COLUMN_OID);
}

/* In UTF-16 TEXT has another order than the bytes of the store. */
static int choose_order(const sql_table *table, const sqlite3_index_info *info) {
  if (!table->is_utf8 || info->nOrderBy == 0 || !is_key(table, info->aOrderBy[0].iColumn)) return 0;
  return info->aOrderBy[0].desc ? ORDER_DOWN : ORDER_UP;
}

static void choose(const sql_table *table, sqlite3_index_info *info, choice *choice) {
  int i;
  memset(choice, 0xff, sizeof(*choice));
  choice->others = choice->file_asked = choice->no_case = choice->is_literal = 0;
  choice->order = choose_order(table, info);
  for (i = 0; i < info->nConstraint; i++) {
    int op = info->aConstraint[i].op, column = table_column(table, info->aConstraint[i].iColumn),
        usable = info->aConstraint[i].usable;
    if (op == SQLITE_INDEX_CONSTRAINT_LIMIT || op == SQLITE_INDEX_CONSTRAINT_OFFSET) {
      if (usable && op == SQLITE_INDEX_CONSTRAINT_LIMIT) choice->limit = i;
      if (usable && op == SQLITE_INDEX_CONSTRAINT_OFFSET) choice->offset = i;
      if (!usable) choice->others++;
    } else if (table->is_function && column == COLUMN_COMMAND && op == SQLITE_INDEX_CONSTRAINT_EQ) {
      choice->file_asked = 1;
      if (usable && choice->file < 0)
        choice->file = i;
      else
        choice->others++;
    } else {
      choice->others++;
      if (usable && is_key(table, info->aConstraint[i].iColumn)) choose_key_term(info, i, choice);
    }
  }
  if (choice->equal < 0) return;
  choice->others--;
  choice->is_literal = is_literal(info, choice->equal);
}

/* Hand constraint i to xFilter as its next argument. */
static void use(sqlite3_index_info *info, int i, int letter, int omit, char *letters) {
  int n = (int)strlen(letters);
  if (i < 0) return;
  letters[n] = (char)letter;
  letters[n + 1] = 0;
  info->aConstraintUsage[i].argvIndex = n + 1;
  info->aConstraintUsage[i].omit = (unsigned char)omit;
}

static const struct plan *find_plan(sqlite3_index_info *info, const choice *choice) {
  const struct plan *plan = plans;
  int has = 0;
  if (choice->equal >= 0) has |= sqlite3_vtab_in(info, choice->equal, -1) ? LIST : EQUAL;
  if (choice->lower >= 0) has |= LOWER;
  if (choice->upper >= 0) has |= UPPER;
  if (choice->no_case) has |= NO_CASE;
  while ((plan->needs & has) != plan->needs) plan++;
  return plan;
}

/* Is it found out when the statement runs?  Not even of 'a' COLLATE nocase SQLite says that it is
** spelled out: of these it matters where the two look as if they came of a LIKE. */
static int bound_letter(sqlite3_index_info *info, const choice *choice, int i) {
  int letter = letter_of(info->aConstraint[i].op);
  if (literal(info, i)) return letter;
  if (choice->no_case
      && (choice->lower < 0 || choice->upper < 0
          || letter_of(info->aConstraint[choice->lower].op) != TERM_FROM
          || letter_of(info->aConstraint[choice->upper].op) != TERM_BELOW))
    return letter;
  switch (letter) {
    case TERM_ABOVE: return TERM_ABOVE_FOUND;
    case TERM_FROM: return TERM_FROM_FOUND;
    case TERM_BELOW: return TERM_BELOW_FOUND;
    default: return TERM_UPTO_FOUND;
  }
}

static void use_key_terms(sqlite3_index_info *info, const choice *choice, const struct plan *plan,
                          char *letters) {
  if (plan->needs & LIST) sqlite3_vtab_in(info, choice->equal, 1);
  if (plan->needs & LIST) use(info, choice->equal, TERM_IN, plan->omit, letters);
  if (plan->needs & EQUAL) {
    use(info, choice->equal, choice->is_literal ? TERM_SPELLED : TERM_EQUAL,
        plan->omit && choice->is_literal, letters);
  }
  if (plan->needs & LOWER)
    use(info, choice->lower, bound_letter(info, choice, choice->lower), plan->omit, letters);
  if (plan->needs & UPPER)
    use(info, choice->upper, bound_letter(info, choice, choice->upper), plan->omit, letters);
}

static int reads_in_order(const choice *choice, const struct plan *plan) {
  switch (plan->number) {
    case PLAN_RANGE:
    case PLAN_NOCASE:
    case PLAN_SCAN: return choice->order != 0;
    default: return 0;
  }
}

/* The rows of each plan have each their own key, in whatever order they come. */
static int are_distinct(const sql_table *table, sqlite3_index_info *info) {
  int i;
  if (sqlite3_vtab_distinct(info) != 2) return 0;
  for (i = 0; i < info->nOrderBy; i++) {
    if (is_key(table, info->aOrderBy[i].iColumn)) return 1;
  }
  return 0;
}

/* How many records the planner should believe in.  Looking costs an open for reading, which leaves
** no trace. */
static double records_of(sql_table *table) {
  sql_view *view = NULL;
  char *message = NULL;
  double records = 100000;
  if (table->is_function || table_use(table) != SQLITE_OK) goto done;
  if (table->store->records < 0) store_view(table->store, 0, &view, &message);
  store_view_release(view);
  if (table->store->records >= 0) records = (double)table->store->records;
done:
  sqlite3_free(message);
  sqlite3_free(table->base.zErrMsg);
  table->base.zErrMsg = NULL;
  return records;
}

/* One bound, if the plan has one there.  SQLITE_NOTFOUND: not known before the statement runs. */
static int take_bound(sqlite3_index_info *info, int i, key_range *range) {
  sqlite3_value *value;
  if (i < 0) return SQLITE_OK;
  value = literal(info, i);
  return value ? range_bound(range, letter_of(info->aConstraint[i].op), value) : SQLITE_NOTFOUND;
}

/* How many rows the order of keys has between bounds that the statement spells out.  -1: unknown */
static double rows_between(sql_table *table, sqlite3_index_info *info, const choice *choice) {
  key_range range;
  sql_view *view = NULL;
  char *message = NULL;
  double rows = -1;
  memset(&range, 0, sizeof(range));
  range.is_utf8 = table->is_utf8;
  if (table->store && take_bound(info, choice->lower, &range) == SQLITE_OK
      && take_bound(info, choice->upper, &range) == SQLITE_OK
      && store_view(table->store, 0, &view, &message) == SQLITE_OK
      && range_start(&range, view) == SQLITE_OK) {
    rows = range.is_nothing ? 0 : range_estimate(&range, &message);
  }
  range_close(&range);
  store_view_release(view);
  sqlite3_free(message);
  return rows;
}

static void tell_planner(sql_table *table, sqlite3_index_info *info, const choice *choice,
                         const struct plan *plan) {
  double rows = plan->rows + plan->rows_of_all * records_of(table), known = -1;
  if (plan->number == PLAN_RANGE && !table->is_function) known = rows_between(table, info, choice);
  if (known >= 0) rows = 1 + known;
  info->idxNum = plan->number;
  info->estimatedRows = (sqlite3_int64)rows;
  info->estimatedCost = plan->cost + plan->cost_of_row * rows;
  if (plan->unique && choice->is_literal) {
    info->idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
    info->orderByConsumed = 1;
  }
}

/* Before 3.46 SQLite hands LIMIT over and withholds terms whose other side is of the same table:
** what looks like the whole WHERE is not, and rows that LIMIT leaves out may be those it asks for.
*/
static int limit_is_sound(void) { return sqlite3_libversion_number() >= 3046000; }

int plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info) {
  sql_table *table = (sql_table *)vtab;
  const struct plan *plan;
  char letters[8] = "";
  int is_ordered;
  choice choice;
  choose(table, info, &choice);
  if (table->is_function && choice.file < 0) {
    if (choice.file_asked) return SQLITE_CONSTRAINT; /* not in this order of tables */
    info->idxNum = PLAN_NOTHING;                     /* xFilter says what is missing */
    info->estimatedCost = 1e50;
    return SQLITE_OK;
  }
  use(info, choice.file, TERM_FILE, 1, letters);
  plan = find_plan(info, &choice);
  use_key_terms(info, &choice, plan, letters);
  tell_planner(table, info, &choice, plan);
  is_ordered = reads_in_order(&choice, plan) && !are_distinct(table, info);
  if (is_ordered || are_distinct(table, info)) info->orderByConsumed = 1;
  if (limit_is_sound() && choice.others == 0 && choice.limit >= 0
      && (info->nOrderBy == 0 || info->orderByConsumed)) {
    use(info, choice.limit, TERM_LIMIT, 0, letters);
    use(info, choice.offset, TERM_OFFSET, 0, letters);
  }
  info->idxStr =
      sqlite3_mprintf("%s%.*s", letters, is_ordered, choice.order == ORDER_UP ? "+" : "-");
  info->needToFreeIdxStr = 1;
  return info->idxStr ? SQLITE_OK : SQLITE_NOMEM;
}
