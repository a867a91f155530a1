"""A way out by the code of a problem, where who found it knows none that is nearer.

A row is for the messages of a code, or for those of them that hold some words: the first that fits
is told as a fact. It says how such a thing is written, or what of it may change.
"""

from __future__ import annotations

Row = tuple[str, str]  # words of the message, the way out

EITHER = "one of the two goes, or gets a name of its own"
SHAPES = (
    "single numbers and equal shapes go together; else an equation with indices says what meets "
    "what, and sum, concat or reshape make the shape that is meant"
)

WAYS: dict[str, tuple[Row, ...]] = {
    # ---- how it is written
    "E101": (("", "it is closed where the value ends, on this line or a later one"),),
    "E105": (("", "it ends with the same marks as it begins with"),),
    "E106": (("letters", "as in net_2 for a name; texts and comments may hold any letters"),
             ("", "the marks are + - * / ^ @ ' = ~ -> , : ; . and brackets")),
    "E108": (("", "it goes below the closing brace, at the beginning of a line"),),
    "E111": (("", "the comma goes, or one more value stands behind it"),),
    "E113": (("imports", "the line goes; other specs come by use \"mnist.dln\""),
             ("layer is a block", "as in h = x -> dense(64, act = relu)"),
             ("", "the line goes")),
    "E114": (("", "a value stands behind the operator, as in a + b"),),
    "E115": (("", "as in train fit on d batch 10 for 5 epochs { ... }"),),
    "E117": (("", "each class has a name of its own: one of the two goes"),),
    "E118": (("", "as in (a < b) == c, or a < b and b < c"),),
    "E152": (("", "as large as it may be is 1e308"),),
    "E154": (("", "a shorter name"),),
    # ---- sizes and shapes
    "E201": (("", "an index, or a class, runs over axes of one size: one of the two is another "
                  "one, or its part is cut, as x[:3]"),),
    "E202": (("steps", "a sequence has one shape at all steps: what is added has that of h[t-1]"),
             ("reshape", "the sizes of the new shape multiply to the numbers there are"),
             ("numbers do not fit", "the sizes of the new shape multiply to the numbers there are"),
             ("one for all examples", "mean(batch: e) makes one of all; in a port it may differ"),
             ("", SHAPES)),
    "E203": (("", "what stands in place of a parameter has its shape; first values are given by "
                  "init, or by start net.W := ..."),),
    "E205": (("", "the last axis on the left meets the first on the right: W[m, n] @ x[n]"),),
    "E206": (("argmax", "of a matrix each row by itself: c[i] = argmax(j: x[i, j])"),
             ("lowest", "flatten(x) makes a vector of a tensor"),
             ("categorical", "as in s ~ categorical(softmax(z)), of a vector"),
             ("distort", "a picture has its sides: image[28, 28] ~ distort(raw.image)"),
             ("", "flatten(x) makes a vector of a tensor, [x] one of a number")),
    "E208": (("class", "classes are counted from 0"), ("axis", "axes are counted from 0, without "
             "those of the batch and of time"), ("", "places are counted from 0")),
    "E209": (("", "sizes in numbers where the port or the data says them, as x[784], mend it"),),
    "E210": (("", "a place is a whole number, an index, or a class, as argmax(z) is one"),),
    "E211": (("", "an option of its own stands for the product: block b(x[n]; m)"),),
    "E212": (("negative", "a size is 1 or more"), ("at least", "a layer has one number or more"),
             ("", "as in dense(64), or a const or a size by its name")),
    "E213": (("", "as many indices stand in brackets as the tensor has axes, or fewer"),),
    "E214": (("last takes", "without last, where it is of one step; a sequence is a port or field "
                            "x[time, n]"),
             ("reversed", "a sequence is a port or a field that says time: x[time, n]"),
             ("declared", "without time, where it has one value for each example"),
             ("no step of", "each scan has its own index: what runs over another is taken whole, "
                            "or by last(...)"),
             ("", "of one step it is x[t]")),
    "E215": (("single number", "without its brackets it is one number; sum(x), mean(x) or x[0] "
                               "make one of several"),
             ("tensor", "several numbers are a list, [a, b], or what a layer gives"),
             ("", "as many axes stand in brackets as the value has")),
    "E216": (("promises", "the promise or the last layer has another size"),
             ("", "one of the two sizes is another; a layer between them changes it: "
                  "x -> dense(10)")),
    "E217": (("starts before", "the range begins later, as i in 1..8, or pad(x, 1) puts a border "
                               "around it"),
             ("strides", "an equation outside of the scan reads in strides: y[i] = x[2*i]"),
             ("", "as in x[i], x[2*i + 1], x[5 - i], with whole numbers")),
    "E218": (("length", "as in [[1, 0, 1], [0, 1, 1]]"), ("made of", "1 joins, 0 does not"),
             ("", "it has a row for each result and a column for each input")),
    "E219": (("rows of", "each row has as many marks"),
             ("X and .", "X or # is a mark, . is none"), ("bitmaps", "# is ink, . is none"),
             ("", "a row has a mark for each column, as X.X")),
    "E220": (("", "with last(x), mean(time: x), or data of one length, each has its end"),),
    "E221": (("", "smaller sizes: one of the factors is larger than it was meant"),),
    # ---- names and kinds
    "E301": (("option", "its options stand behind its name in dln's own words, as lr"),
             ("field", "the data of the watch has the fields that its value is worked out of"),
             ("", "a name has a line that says what it is: let, const, an equation, a port")),
    "E302": (("length", "a list is written [1, 2, 3], a range 1..3"),
             ("", "a value is a number, a list of numbers, or what an equation gives")),
    "E303": (("", "the entries of a list have one shape; concat joins what differs in length"),),
    "E304": (("first value", "as in param W[m, n] ~ glorot(n, m), or a number"),
             ("", "a number, a const or a size by its name")),
    "E305": (("tolerance", "as in within 1e-6"), ("lowest", "fewer of them, or a longer vector"),
             ("", "the least is 1")),
    "E306": (("", "a range goes upwards by 1, or as is said: 0..1 by 0.1"),),
    "E308": (("/ 0", "what is divided by may be kept from 0: a / max(b, 1e-9)"),
             ("log", "what log takes may be kept above 0: log(max(x, 1e-9))"),
             ("", "a smaller exponent")),
    "E309": (("sweep", "fewer values, or a larger step: vary lr in 0..1 by 0.1"),
             ("", "an equation runs over a longer range: y[i in 0..999999] = i")),
    "E311": (("compared", "argmax(z) is a class; a number is compared with numbers"),
             ("", "onehot(label) has a number for each class")),
    "E313": (("", "prob alone says that all are from 0 to 1"),),
    "E315": (("", "it has one element or more: a size above 0, a list that is not empty"),),
    "E316": (("", "fewer rounds of for, or an equation with an index in their place"),),
    "E317": (("values", "as many classes as there are: class(3)"),
             ("", "classes are whole numbers from 0 on")),
    "E320": (("", "a function is made of others: one of the calls goes, or stands in a scan")
             ,),
    "E321": (("", "the semicolon goes: f(x, y)"),),
    "E322": (("gibbs", "as in gibbs(R, v, 3), or gibbs(R, v, 3, clamp = \"label\")"),
             ("cd takes", "as in cd(R, v, k = 1)"),
             ("log_likelihood", "as in log_likelihood(R, v)"),
             ("log_z", "as in log_z(R)"), ("descent", "as lbfgs is written in std.dln"),
             ("group", "as in R.up(v)"), ("concat", "as in concat(a, b)"),
             ("stack", "as in stack(a, b)"), ("read takes", "as in lm.read(text)"),
             ("params", "as in params(net)"), ("plot", "as in emit plot(fit.error) to \"a.png\""),
             ("before takes", "as in fit.before(loss)"), ("text takes", "as in text(prime, s)"),
             ("training", "as in training(a, b)"), ("balanced", "as in balanced(label)"),
             ("", "as many stand in brackets as it takes")),
    "E324": (("is a function", "a function stands here by its name, without brackets"),
             ("", "what is meant is multiplied by *, or an element in [ ]")),
    "E325": (("", "as in sum(i: x[i]); of another function without an index, f(x)"),),
    "E326": (("", "as in sum(i: x[i])"),),
    "E327": (("function", "an instance has parts: let net = dense(10), then net.W"),
             ("", "what has parts is an instance, net.W, a phase, fit.error, or a data set, d.x")),
    "E328": (("one number", "earlier reports are those of a watch: error[-1]"),
             ("", "without its brackets; elements are those of a tensor or a list: x[0]")),
    "E329": (("", "one of the two goes"),),
    "E331": (("like", "like names another data set"), ("", "another name for one of the two")),
    "E334": (("equation", "the equation has a name of its own"), ("", EITHER)),
    "E335": (("", "it is applied first, as in y = net(x)"),),
    "E336": (("never asked", "a phase or a check asks for something of it: T.free(v)"),
             ("runs over nothing", "as in i in 0..8"),
             ("", "a number in place of the size, or an application, says how large it is")),
    "E337": (("", "as in over net, or over net.W, net.b"),),
    "E342": (("", "grad is by a parameter, or by a value of real numbers: grad(e, net.W)"),),
    "E344": (("", "a later update moves it: fit.after(...) - fit.before(...) shows by how much"),),
    "E345": (("", "the value is worked out of what stands behind the comma, or another is meant")
             ,),
    "E346": (("temperature", "as in temperature = 0.5"),
             ("kept", "as in dropout(x, 0.2), which leaves out two in ten"),
             ("", "as in relaxed(sigmoid(z), temperature = 0.5)")),
    "E347": (("share", "as in squeeze = 0.15"), ("", "as in shift = 2")),
    "E351": (("folds", "fewer folds, or more examples"),
             ("groups", "fewer parts, or shares that leave room for the largest group"),
             ("", "as in split fit 0.8, valid 0.2, or split fit 100, valid 20")),
    "E355": (("nothing to learn", "minimize is over an instance with parameters: over net"),
             ("", "it goes from the line, or is declared as param")),
    "E358": (("", "both are instances of one block: made with the same options"),),
    "E362": (("", "as in order balanced(label), where the data set says label: class(10)"),),
    "E370": (("", "a tolerance goes with ==; a bound says its own: error < 0.1"),),
    "E371": (("until", "as in until error < 0.1, of what the phase watches"),
             ("", "what the phase watches, epoch and update change in it")),
    "E372": (("", "as in vary n in [10, 20, 30]"),),
    "E373": (("", "another value for what is given, or another requirement in the block"),),
    "E374": (("", "use goes to a line at the top, outside of braces"),),
    "E375": (("", "over names what the loss is worked out of, or the loss applies it: net(x)"),),
    "E381": (("", "a file may use the last one itself, without those between"),),
    "E384": (("", "the name is that of a file beside the spec, or of one that is always there, "
                  "as mnist.dln"),),
    "E388": (("no text data", "a text is read where data t = text(\"a.txt\") has its letters"),
             ("", "letters that the data has: at least one, and no others")),
    "E391": (("", "classes are letters of a data set text(\"a.txt\"); else they are numbers: "
                  "emit c"),),
    "E396": (("condition", "one number says whether an example is meant: max(x) > 0.5"),
             ("go together", "argmax(z) is one class for each example, as label is"),
             ("", "as in argmax(net(x)) != label, worked out of its fields")),
    "E400": (("watch", "a watch without on sees it"), ("", "a number or a draw stands there")),
    "E406": (("", "the line goes behind the closing brace of the step")
             ,),
    "E411": (("over", "without time: hidden h[m]: binary"),
             ("", "as in hidden h[m]: binary, or hidden h[m] for real ones")),
    "E414": (("", "the energy has a term with it, as - b @ h, or it is not declared")
             ,),
    "E417": (("", "one group is left out of clamp, and moves"),),
    "E418": (("", "log_z adds up over states: one side is binary")
             ,),
    "E424": (("", "one of the two goes"),),
    "E426": (("no part", "what is left out is a part of the same set: d - d.fold[0]"),
             ("", "another part is left out, or a larger one divided")),
    "E429": (("", "the columns of both are as many: raw[:4] in each"),),
    "E430": (("", "a watch of the phase itself, without on, may be made of it"),),
    "E435": (("", "in a phase: minimize balanced(label) * loss"),),
    # ---- files, numbers and runs
    "E002": (("", "the disk or the network refuses it: another place may do"),),
    "E509": (("no option", "rows takes its list alone; a header is one of table"),
             ("", "as in rows([[0, 1], [1, 0]]), or table(\"a.csv\")")),
    "E513": (("", "its row goes, or the file that says the classes has it as well"),),
    "E533": (("", "as in array.astype(\"float32\")"),),
    "E552": (("", "numbers stand there; of words their classes, from 0 on"),),
    "E553": (("", "an example that lacks a number is left out, or given one"),),
    "E554": (("", "another number in the data, or another domain for the field"),),
    "E556": (("", "one example or more, as in an array of shape [1, 784]"),),
    "E563": (("", "as in session.train(epochs=3)"),),
    "E565": (("", "a phase or a check applies it, or its ports say all sizes in numbers"),),
    "E570": (("", "a line of minimize has gradients; update moves by its own rule"),),
    "E586": (("", "without shards, or with an optimiser such as sgd"),),
    "E587": (("", "a spec with a train block has a step that can be written out"),),
    "E616": (("", "docs/onnx.md has the operators that are"),),
    "E619": (("", "the file is not whole: written anew by what made it, it has the node"),),
    "E645": (("", "dln run --resume with its directory goes on from the last checkpoint"),),
    # ---- warnings
    "W301": (("", "a list or a range that is not empty"),),
    "W302": (("", "over names those that the loss depends on"),),
}  # fmt: skip


def way(code: str, message: str) -> tuple[str, ...]:
    """How a problem of a code is got out of, as facts: one, or none."""
    return tuple(said for words, said in WAYS.get(code, ()) if words in message)[:1]
