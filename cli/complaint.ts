// What goes wrong for reasons that the user can mend: said in one line, without a stack.

export class Complaint extends Error {
	constructor(message: string, options?: ErrorOptions) {
		super(message, options);
		this.name = "Complaint";
	}
}
