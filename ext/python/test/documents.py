"""Run the Python of a document: every statement, and an expression with a comment behind it has to
be what the comment says."""

import ast
import re


def snippets(text, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def run(source, names, case):
    """Run a snippet in `names`.  `expression      # value` is checked by `case`, at any depth."""
    lines = source.splitlines()
    tree = ast.parse(source)

    class Check(ast.NodeTransformer):
        def visit_Expr(self, node):
            comment = lines[node.end_lineno - 1][node.end_col_offset :].strip().lstrip("#").strip()
            try:
                ast.literal_eval(comment)
            except (ValueError, SyntaxError):
                return node
            checked.append(comment)
            expected = ast.parse(comment, mode="eval").body
            return ast.copy_location(
                ast.Expr(ast.Call(ast.Name("_check", ast.Load()), [node.value, expected], [])), node
            )

    checked = []
    tree = ast.fix_missing_locations(Check().visit(tree))
    names["_check"] = case.assertEqual
    exec(compile(tree, "snippet", "exec"), names)
    return len(checked)
