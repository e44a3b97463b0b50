"""Write an expression as source text that compiles or runs as it stands: Python with NumPy, and C."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .expression import Expression
from .formula import order
from .printing import infix, python_name, python_names, to_python

RESERVED = re.compile(
    r"auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|"
    r"register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|"
    r"alignas|alignof|asm|bool|catch|char8_t|char16_t|char32_t|concept|consteval|constexpr|constinit|const_cast|"
    r"co_await|co_return|co_yield|decltype|delete|dynamic_cast|explicit|export|false|friend|mutable|namespace|new|"
    r"noexcept|nullptr|operator|private|protected|public|reinterpret_cast|requires|static_assert|static_cast|"
    r"template|this|thread_local|throw|true|try|typeid|typename|typeof|typeof_unqual|using|virtual|wchar_t|main|"
    r"linux|unix|fpclassify|isfinite|isgreater|isgreaterequal|isinf|isless|islessequal|islessgreater|isnan|"
    r"isnormal|isunordered|signbit|signgam|math_errhandling|float_t|double_t|NAN|INFINITY|MAXFLOAT|"
    r"(?:M|FP|MATH|HUGE)_[A-Z0-9_]+|HUGE_VAL[FL]|"
    r"(?:acos|asin|atan|atan2|cos|sin|tan|acosh|asinh|atanh|cosh|sinh|tanh|exp|exp2|exp10|pow10|expm1|frexp|ilogb|"
    r"ldexp|log|log10|log1p|log2|logb|modf|cbrt|fabs|hypot|pow|sqrt|erf|erfc|gamma|lgamma|lgamma_r|tgamma|ceil|"
    r"floor|nearbyint|rint|lrint|llrint|round|lround|llround|trunc|fmod|remainder|drem|remquo|copysign|nan|"
    r"nextafter|nexttoward|fdim|fmax|fmin|fma|finite|significand|scalb|scalbn|scalbln|j0|j1|jn|y0|y1|yn|sincos)[fl]?"
)
"""What C and C++ reserve, and what the header math.h defines: macros, and functions in all their precisions."""

FUNCTIONS_OF_C = {"abs": "fabs"}
"""Functions whose name in math.h is not ours."""


def to_python_source(expression: Expression, *, name: str, arguments: Sequence[str] | None = None) -> str:
    """Write a Python function of NumPy arrays with its import. Raises BadFormula where a variable is no argument."""
    return f"import numpy as np\n\n\n{to_python(expression, name=name, arguments=order(expression, arguments))}"


def to_c_source(expression: Expression, *, name: str, arguments: Sequence[str] | None = None) -> str:
    """Write a C99 function with the header that it needs. Raises BadFormula where a variable is no argument."""
    return f"#include <math.h>\n\n{to_c(expression, name=c_name(name), arguments=order(expression, arguments))}"


def to_c(expression: Expression, *, name: str, arguments: Sequence[str]) -> str:
    """Write a C99 function of doubles; it needs math.h, and a name that is free there.

    Arguments are called as those of the Python function are; what C reserves gets an underscore.

    >>> from .parsing import parse
    >>> print(to_c(parse("m1*m2/r**2"), name="force", arguments=("m1", "m2", "r")))
    double force(double m1, double m2, double r)
    {
        return m1*m2/pow(r, 2.0);
    }
    <BLANKLINE>
    """
    parameters = c_names(arguments)
    body = infix(
        expression,
        parameters.__getitem__,
        lambda function: FUNCTIONS_OF_C.get(function, function),
        repr,  # with a point or an exponent: 1/2 would be 0
        power=lambda base, exponent: f"pow({base}, {exponent})",
    )
    listed = ", ".join(f"double {parameter}" for parameter in parameters.values()) or "void"
    return f"double {name}({listed})\n{{\n    return {body};\n}}\n"


def c_name(text: str) -> str:
    """Make an identifier that neither Python, C, C++ nor math.h has taken, as like the text as it can be."""
    name = python_name(text)
    return f"{name}_" if RESERVED.fullmatch(name) else name


def c_names(names: Sequence[str]) -> dict[str, str]:
    """Make identifiers for several names, all different."""
    chosen: dict[str, str] = {}
    for name, candidate in python_names(names).items():
        free = c_name(candidate)
        while free in chosen.values():
            free += "_"
        chosen[name] = free
    return chosen
